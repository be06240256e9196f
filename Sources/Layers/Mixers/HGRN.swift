import AttentionOperators
import AttentionTensors

/// The hierarchically gated recurrence: a state per channel, which a token's gate mixes with its input.
///
///     λ_t = γ + (1 − γ) σ(f_t) ,   h_t = λ_t ⊙ h_{t−1} + (1 − λ_t) ⊙ silu(i_t)
///     y = Wₒ (RMSNorm(h) ⊙ silu(W_g x))
///
/// Parameters: `i_proj`, `f_proj`, `g_proj`, `i_conv1d` and `f_conv1d` if there are convolutions, `g_norm`, `o_proj`,
/// as in flash-linear-attention.
///
/// Reference: Qin, Yang, Zhong,
/// [*Hierarchically gated recurrent neural network*](https://arxiv.org/abs/2311.04823) (2023), with a real state.
public struct HGRN: RecurrentMixer, ConfiguredMixer {
  public let hidden: Int
  private let options: Options
  private let width: Int
  /// γ [channels], on the device of the parameters.
  private let bound: Tensor?
  private let input: ConvolvedProjection
  private let forget: ConvolvedProjection
  private let gate: Linear
  private let norm: GatedNorm
  private let output: Linear

  public init(hidden: Int, options: Options, outputScale: Double, scope: ParameterScope) throws {
    try options.validate(hidden: hidden)
    let width = try options.width(hidden: hidden)
    func projection(_ name: String) throws -> ConvolvedProjection {
      try ConvolvedProjection(
        name, inputs: hidden, outputs: width, convolution: options.convolution,
        appliesSiLU: false, scope: scope)
    }
    self.hidden = hidden
    self.options = options
    self.width = width
    input = try projection("i")
    forget = try projection("f")
    let gate = try Linear(inputs: hidden, outputs: width, scope: scope["g_proj"])
    self.gate = gate
    bound = try options.lowerBound.map {
      try .full([width], $0, dtype: .float64, device: gate.weight.device)
    }
    norm = try GatedNorm(width: width, epsilon: options.normEpsilon, scope: scope["g_norm"])
    output = try Linear(
      inputs: width, outputs: hidden, scale: outputScale, scope: scope["o_proj"])
  }

  public func mixed(_ x: Tensor, _ stream: inout TokenStream) throws -> Tensor {
    let candidates = try input(x, &stream).silu()
    let bound =
      try options.boundLayer.map {
        try LayerBounds.bound(layer: $0, width: width, in: stream.context)
      } ?? bound
    let logits = try stream.context.padding(forget(x, &stream), with: Self.openGate)
    let result = try hgrn(
      candidates: candidates, forgetLogits: logits, lowerBound: bound,
      initialState: stream.states["state"], cumulativeLengths: stream.cumulativeLengths)
    stream.states["state"] = result.finalState
    return try output(norm(result.output, gate: gate(x)))
  }

  /// The argument of a gate λ = 1, which keeps the state.
  private static let openGate = 1e4
}

extension HGRN {
  /// How a layer divides its width.
  public struct Options: MixerOptions {
    /// The number of channels, as a multiple of the hidden size.
    public var expansion = 1.0
    public var convolution = ConvolutionOptions(width: nil)
    /// γ, from 0 to 1: larger in later layers; nil for none.
    public var lowerBound: Double?
    /// The layer whose γ the model has learned (``LayerBounds``); nil for ``lowerBound``.
    public var boundLayer: Int?
    public var normEpsilon = 1e-5

    public init() {}

    public func validate(hidden: Int) throws {
      _ = try width(hidden: hidden)
      try convolution.validate()
      try LayerError.require("lowerBound", isShare: lowerBound)
      try LayerError.require("normEpsilon", isPositive: normEpsilon)
    }

    func width(hidden: Int) throws -> Int {
      try LayerError.require("hiddenSize", isExtent: hidden)
      return try LayerError.width("expansion", expansion, of: hidden, heads: 1)
    }
  }
}

extension LayerError {
  /// Throws ``invalidArgument(_:was:mustBe:)`` unless `value` is nil, or from 0 to 1.
  static func require(_ name: String, isShare value: Double?) throws {
    guard let value, !(value >= 0 && value <= 1) else { return }
    throw invalidArgument(name, was: "\(value)", mustBe: "from 0 to 1")
  }
}
