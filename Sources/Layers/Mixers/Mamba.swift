import AttentionCLibrary
import AttentionOperators
import AttentionTensors

/// Mamba: a state-space model whose channels have states of their own, which decay at their own rates.
///
///     [x, z] = W x̃ ,   x = silu(conv(x)) ,   [d, B, C] = W_x x ,   Δ = softplus(W_d d + b)
///     h_t = exp(−e^a Δ_t) ⊙ h_{t−1} + Δ_t x_t B_t ,   y_t = (C_tᵀ h_t + D x_t) ⊙ silu(z_t)
///     output = Wₒ y
///
/// Jamba normalises d, B and C with learned weights, Falcon Mamba without.
///
/// Parameters: `in_proj`, `conv1d`, `x_proj`, `dt_proj`, `A_log`, `D`, `out_proj`, and in Jamba
/// `dt_layernorm`, `b_layernorm`, `c_layernorm`.
///
/// Reference: Gu, Dao, [*Mamba*](https://arxiv.org/abs/2312.00752) (2023).
public struct Mamba: RecurrentMixer, ConfiguredMixer {
  public let hidden: Int
  private let options: Options
  private let width: Int
  private let rank: Int
  private let input: Linear
  private let convolution: ShortConvolution?
  private let selection: Linear
  private let step: Linear
  private let logRates: Tensor
  private let skip: Tensor
  /// Of d, B and C.
  private let norms: [RMSNorm]
  private let output: Linear

  /// A step before its softplus that stands for Δ = 0, which neither decays a state nor writes to it.
  private static let noStep = -1e4

  public init(hidden: Int, options: Options, outputScale: Double, scope: ParameterScope) throws {
    try options.validate(hidden: hidden)
    self.hidden = hidden
    self.options = options
    width = options.width(hidden: hidden)
    rank = options.stepRank(hidden: hidden)
    let states = options.stateDimension
    input = try Linear(
      inputs: hidden, outputs: 2 * width, hasBias: options.hasBias, scope: scope["in_proj"])
    convolution = try options.convolution.layer(
      channels: width, appliesSiLU: true, scope: scope["conv1d"])
    selection = try Linear(inputs: width, outputs: rank + 2 * states, scope: scope["x_proj"])
    step = try Linear(inputs: rank, outputs: width, hasBias: true, scope: scope["dt_proj"])
    logRates = try scope.parameter(
      "A_log", [width, states], .row((1...states).map { log(Double($0)) }))
    skip = try scope.parameter("D", [width], .ones)
    norms =
      options.selectionNorm != .learned
      ? []
      : try zip(["dt", "b", "c"], [rank, states, states]).map {
        try RMSNorm(
          width: $1, epsilon: options.normEpsilon, scope: scope[$0 + "_layernorm"])
      }
    output = try Linear(
      inputs: width, outputs: hidden, hasBias: options.hasBias, scale: outputScale,
      scope: scope["out_proj"])
  }

  public func mixed(_ x: Tensor, _ stream: inout TokenStream) throws -> Tensor {
    let parts = try input(x).split(-1, sizes: [width, width])
    let inputs = try stream.convolved(parts[0], by: convolution, "conv1d", appliesSiLU: true)
    let states = options.stateDimension
    let selected = try normalized(selection(inputs).split(-1, sizes: [rank, states, states]))
    let steps = try selected[0].multiplied(byRowsOf: step.weight)
    let result = try mamba(
      inputs: inputs, gate: parts[1], step: stream.context.padding(steps, with: Self.noStep),
      stepBias: step.bias, logStateMatrix: logRates, inputMatrix: selected[1],
      outputMatrix: selected[2], skip: skip, initialState: stream.states["state"],
      cumulativeLengths: stream.cumulativeLengths)
    stream.states["state"] = result.finalState
    return try output(result.output)
  }

  /// d, B and C with their norms.
  private func normalized(_ parts: [Tensor]) throws -> [Tensor] {
    switch options.selectionNorm {
    case .none: parts
    case .learned: try zip(norms, parts).map { try $0($1) }
    case .plain:
      try parts.map {
        let ones = try Tensor.ones([$0.shape[2]], dtype: $0.dtype, device: $0.device)
        return try $0.rmsNorm(weight: ones, epsilon: options.normEpsilon)
      }
    }
  }
}

extension Mamba {
  /// The norms of d, B and C.
  public enum SelectionNorm: String, CaseIterable, Sendable, Codable {
    case none
    /// Without weights, as in Falcon Mamba.
    case plain
    /// With weights, as in Jamba.
    case learned
  }

  /// How a layer divides its width.
  public struct Options: MixerOptions {
    /// The number of channels, as a multiple of the hidden size.
    public var expansion = 2.0
    /// The number of states of a channel.
    public var stateDimension = 16
    /// The rank of the steps' projection; nil for hidden / 16, rounded up.
    public var stepRank: Int?
    public var convolution = ConvolutionOptions(hasBias: true)
    /// Whether the projections of input and output have biases.
    public var hasBias = false
    public var selectionNorm = SelectionNorm.none
    public var normEpsilon = 1e-6

    public init() {}

    public func validate(hidden: Int) throws {
      try LayerError.require("hiddenSize", isExtent: hidden)
      _ = try LayerError.width("expansion", expansion, of: hidden, heads: 1)
      try LayerError.require("stateDimension", isExtent: stateDimension)
      try LayerError.require("stepRank", isExtent: stepRank(hidden: hidden))
      try convolution.validate()
      try LayerError.require("normEpsilon", isPositive: normEpsilon)
    }

    func width(hidden: Int) -> Int { Int(expansion * Double(hidden)) }

    func stepRank(hidden: Int) -> Int { stepRank ?? (hidden + 15) / 16 }
  }
}
