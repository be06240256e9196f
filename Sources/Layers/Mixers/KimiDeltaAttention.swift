import AttentionOperators
import AttentionTensors

/// Kimi Delta Attention: the delta rule on a matrix state whose rows each decay by a gate of their own.
///
///     S_t = (I − β_t k_t k_tᵀ) diag(α_t) S_{t−1} + β_t k_t v_tᵀ ,   o_t = S_tᵀ q_t / √d
///     α = exp(−e^a softplus(F₂ F₁ x + b)) ,   β = σ(W_b x) ,   q and k of unit length
///     y = Wₒ (RMSNorm(o) ⊙ σ(G₂ G₁ x)) ,  where the norm is over each head
///
/// With a smallest log-decay m, α = exp(m σ(e^a (F₂ F₁ x + b))).
///
/// Parameters: `q_proj`, `k_proj`, `v_proj`, their `q_conv1d`, …, `b_proj`, `A_log`, `dt_bias`, `o_norm`, `o_proj`,
/// and those of the layout (see ``Layout``).
///
/// Reference: Kimi Team,
/// [*Kimi Linear: an expressive, efficient attention architecture*](https://arxiv.org/abs/2510.26692) (2025).
public struct KimiDeltaAttention: RecurrentMixer, ConfiguredMixer {
  public let hidden: Int
  private let options: Options
  private let projections: HeadProjections
  private let decayLogits: LinearChain
  private let decay: StepDecay
  private let beta: Linear
  private let gate: LinearChain
  private let output: GatedOutput

  public init(hidden: Int, options: Options, outputScale: Double, scope: ParameterScope) throws {
    try options.validate(hidden: hidden)
    let extents = options.extents(hidden: hidden)
    self.hidden = hidden
    self.options = options
    projections = try HeadProjections(
      hidden: hidden, extents: extents, convolution: options.convolution, appliesSiLU: true,
      scope: scope)
    func gateProjection(_ name: String, _ outputs: Int, hasBias: Bool) throws -> LinearChain {
      try options.layout.gateProjection(
        name, inputs: hidden, rank: extents.valueDimension, outputs: outputs, hasBias: hasBias,
        scope: scope)
    }
    decayLogits = try gateProjection(
      "f", extents.valueHeads * extents.keyDimension, hasBias: false)
    decay = try StepDecay(
      heads: extents.valueHeads, channels: extents.keyDimension,
      rateShape: options.layout == .kimi ? [1, 1, extents.valueHeads, 1] : nil, scope: scope)
    beta = try Linear(inputs: hidden, outputs: extents.valueHeads, scope: scope["b_proj"])
    gate = try gateProjection("g", extents.valueWidth, hasBias: true)
    let norm = try GatedNorm(
      width: extents.valueDimension, gate: .sigmoid, epsilon: options.normEpsilon,
      scope: scope["o_norm"])
    output = try GatedOutput(
      width: extents.valueWidth, hidden: hidden, norm: norm, outputScale: outputScale,
      scope: scope["o_proj"])
  }

  public func mixed(_ x: Tensor, _ stream: inout TokenStream) throws -> Tensor {
    let rows = try projections(x, &stream)
    let logits = try decayLogits(x).separated(dimension: projections.extents.keyDimension)
    let gates = try options.smallestDecay.map { try decay.bounded(logits, by: $0) } ?? decay(logits)
    var rates = try beta(x).inGatePrecision().sigmoid()
    if options.allowsNegativeEigenvalues { rates = try rates * 2 }
    let result = try kimiDeltaAttention(
      queries: rows.queries, keys: rows.keys, values: rows.values,
      decay: stream.withoutPadding(gates), beta: stream.withoutPadding(rates),
      initialState: stream.states["state"], cumulativeLengths: stream.cumulativeLengths)
    stream.states["state"] = result.finalState
    return try output(result.output, gate: gate(x))
  }
}

extension KimiDeltaAttention {
  /// The projections of decays and of the output's gate: the same mixer is published with three.
  public enum Layout: String, CaseIterable, Sendable, Codable {
    /// flash-linear-attention: `f_proj.0`, `f_proj.1`, `g_proj.0`, and `g_proj.1` with a bias.
    case fla
    /// Kimi Linear: `f_a_proj`, `f_b_proj`, `g_a_proj`, `g_b_proj`, and `A_log` of shape [1, 1, heads, 1].
    case kimi
    /// Bailing hybrids: `f_proj` and `g_proj` of full rank.
    case bailing

    /// - Parameters:
    ///   - name: the beginning of the parameters' names.
    ///   - hasBias: whether flash-linear-attention has a bias.
    func gateProjection(
      _ name: String, inputs: Int, rank: Int, outputs: Int, hasBias: Bool, scope: ParameterScope
    ) throws -> LinearChain {
      switch self {
      case .fla:
        try LinearChain(
          inputs: inputs, rank: rank, outputs: outputs, hasBias: hasBias,
          scope: scope[name + "_proj"])
      case .kimi:
        LinearChain([
          try Linear(inputs: inputs, outputs: rank, scope: scope[name + "_a_proj"]),
          try Linear(inputs: rank, outputs: outputs, scope: scope[name + "_b_proj"]),
        ])
      case .bailing:
        LinearChain([
          try Linear(inputs: inputs, outputs: outputs, scope: scope[name + "_proj"])
        ])
      }
    }
  }

  /// How a layer divides its width.
  public struct Options: MixerOptions {
    /// Heads of queries and keys.
    public var heads: Int
    /// Heads of values, a multiple of ``heads``; nil for as many.
    public var valueHeads: Int?
    /// The dimension of a query and a key; nil for hidden / heads.
    public var keyDimension: Int?
    /// The dimension of a value, and the rank of the low-rank projections; nil for that of a key.
    public var valueDimension: Int?
    public var convolution = ConvolutionOptions()
    /// Whether β is from 0 to 2, so that a token can negate what the state holds for its key.
    public var allowsNegativeEigenvalues = false
    /// m < 0, which log-decays approach; nil for no limit.
    public var smallestDecay: Double?
    public var normEpsilon = 1e-5
    public var layout = Layout.fla

    public init(heads: Int) { self.heads = heads }
    public init() { self.init(heads: 4) }

    public func validate(hidden: Int) throws {
      try extents(hidden: hidden).validate(hidden: hidden, keyDimension: keyDimension)
      try convolution.validate()
      if let smallestDecay, !(smallestDecay < 0 && smallestDecay.isFinite) {
        throw LayerError.invalidArgument(
          "smallestDecay", was: "\(smallestDecay)", mustBe: "a number below 0")
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
