import AttentionOperators
import AttentionTensors

/// Comba: the gated delta rule with feedback from the state and to the output.
///
///     p_t = σ(b) k_t ,   S_t = α_t S_{t−1} + β_t k̂_t (v_t − S_{t−1}ᵀ p̂_t)ᵀ ,   o_t = S_tᵀ r̂_t / √d
///     r_t = q_t − d p_t ,   y = Wₒ (RMSNorm(o) ⊙ σ(W_g x)) ,  where the norm is over each head
///
/// with hats for unit vectors, b and d one number per head, and the rest as in ``GatedDeltaNet``.
///
/// Parameters: `q_proj`, `k_proj`, `v_proj`, their `q_conv1d`, … unless there are no convolutions, `a_proj`, `b_proj`,
/// `A_log`, `dt_bias`, `decay` b unless there is no inner decay, `D` unless there is no correction, `g_proj` unless
/// there is no gate, `o_norm`, `o_proj`, as in flash-linear-attention, where p is normalised too.
///
/// Reference: Hu, Pan, Du, Lan, Tang, Wen, Liang, Sun,
/// [*Comba: improving bilinear RNNs with closed-loop control*](https://arxiv.org/abs/2506.02475) (2025).
public struct Comba: RecurrentMixer, ConfiguredMixer {
  public let hidden: Int
  private let options: Options
  private let projections: HeadProjections
  private let steps: Linear
  private let beta: Linear
  private let decay: StepDecay
  /// b [heads, 1]
  private let innerDecay: Tensor?
  /// d [heads, 1]
  private let correction: Tensor?
  private let gate: Linear?
  private let output: GatedOutput

  public init(hidden: Int, options: Options, outputScale: Double, scope: ParameterScope) throws {
    try options.validate(hidden: hidden)
    let extents = options.extents(hidden: hidden)
    func linear(_ name: String, _ outputs: Int) throws -> Linear {
      try Linear(inputs: hidden, outputs: outputs, scope: scope[name])
    }
    func perHead(_ name: String, _ initial: Double) throws -> Tensor {
      try scope.parameter(name, [options.heads], .constant(initial)).unsqueezed(-1)
    }
    self.hidden = hidden
    self.options = options
    projections = try HeadProjections(
      hidden: hidden, extents: extents, convolution: options.convolution, appliesSiLU: true,
      scope: scope)
    steps = try linear("a_proj", extents.valueHeads)
    beta = try linear("b_proj", extents.valueHeads)
    decay = try StepDecay(heads: extents.valueHeads, scope: scope)
    innerDecay = options.hasInnerDecay ? try perHead("decay", 1) : nil
    correction = try options.correction.map { try perHead("D", $0) }
    gate = options.hasGate ? try linear("g_proj", extents.valueWidth) : nil
    let norm = try GatedNorm(
      width: extents.valueDimension, gate: .sigmoid, epsilon: options.normEpsilon,
      scope: scope["o_norm"])
    output = try GatedOutput(
      width: extents.valueWidth, hidden: hidden, norm: norm, outputScale: outputScale,
      scope: scope["o_proj"])
  }

  public func mixed(_ x: Tensor, _ stream: inout TokenStream) throws -> Tensor {
    let rows = try projections(x, &stream)
    let read = try innerDecay.map { try rows.keys * $0.sigmoid() } ?? rows.keys
    let queries = try correction.map { try rows.queries - read * $0 } ?? rows.queries
    let rates = try stream.withoutPadding(beta(x).sigmoid()).unsqueezed(-1)
    let valueHeads = projections.extents.valueHeads
    let keys = try rows.keys.unitVectors()
    let result = try linearAttention(
      queries: queries.unitVectors(), keys: keys, values: rows.values * rates,
      decay: stream.withoutPadding(decay(steps(x))),
      update: .lowRank(
        a: read.unitVectors().repeatedHeads(to: valueHeads),
        b: keys.repeatedHeads(to: valueHeads) * -rates),
      initialState: stream.states["state"], cumulativeLengths: stream.cumulativeLengths)
    stream.states["state"] = result.finalState
    return try output(result.output, gate: gate?(x))
  }
}

extension Comba {
  /// How a layer divides its width.
  public struct Options: MixerOptions {
    /// Heads of queries and keys.
    public var heads: Int
    /// Heads of values, a multiple of ``heads``; nil for as many.
    public var valueHeads: Int?
    /// The dimension of a query and a key; nil for hidden / heads.
    public var keyDimension: Int?
    /// The dimension of a value; nil for that of a key.
    public var valueDimension: Int?
    public var convolution = ConvolutionOptions()
    /// Whether keys that read the state are scaled by σ(b).
    public var hasInnerDecay = true
    /// d before training; nil for no correction of the output.
    public var correction: Double? = 1
    /// Whether the output has a gate.
    public var hasGate = true
    public var normEpsilon = 1e-5

    public init(heads: Int) { self.heads = heads }
    public init() { self.init(heads: 4) }

    public func validate(hidden: Int) throws {
      try extents(hidden: hidden).validate(hidden: hidden, keyDimension: keyDimension)
      try convolution.validate()
      if let correction, !correction.isFinite {
        throw LayerError.invalidArgument(
          "correction", was: "\(correction)", mustBe: "a finite number")
      }
      try LayerError.require("normEpsilon", isPositive: normEpsilon)
    }

    func extents(hidden: Int) -> HeadExtents {
      HeadExtents(
        hidden: hidden, heads: heads, valueHeads: valueHeads, keyDimension: keyDimension,
        valueDimension: valueDimension)
    }
  }
}
