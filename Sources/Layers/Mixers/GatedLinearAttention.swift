import AttentionOperators
import AttentionTensors

/// Gated linear attention: one matrix state per head, whose rows decay by gates that depend on the token.
///
///     S_t = diag(e^{g_t}) S_{t−1} + k_t v_tᵀ ,  o_t = S_tᵀ q_t / √d
///     g = log σ(W₂ W₁ x + b) / divisor
///     y = Wₒ (RMSNorm(o) ⊙ gate(W_g x)) ,  where the norm is over each head
///
/// The decay may also be one number per head, g = log σ(W x + b) / divisor (simple gated linear attention).
///
/// Parameters: `q_proj`, `k_proj`, `v_proj`, their `q_conv1d`, … if there are convolutions, `gk_proj.0` and
/// `gk_proj.1`, or `gk_proj` of one decay per head, `g_proj`, `g_norm_swish_gate` or, for any other gate,
/// `g_norm`, and `o_proj`, as in flash-linear-attention.
///
/// Reference: Yang, Wang, Shen, Panda, Kim, *Gated linear attention transformers with
/// hardware-efficient training* (2024).
public struct GatedLinearAttention: RecurrentMixer, ConfiguredMixer {
  public let hidden: Int
  let options: Options
  let projections: HeadProjections
  private let featureMap: FeatureMapLayer
  let decay: LinearChain
  let gate: Linear?
  let output: GatedOutput

  public init(
    hidden: Int, options: Options, outputScale: Double = 1, scope: ParameterScope
  ) throws {
    try options.validate(hidden: hidden)
    let extents = try options.extents(hidden: hidden)
    self.hidden = hidden
    self.options = options
    projections = try HeadProjections(
      hidden: hidden, extents: extents, convolution: options.convolution,
      appliesSiLU: options.convolution.width != nil, scope: scope)
    featureMap = try FeatureMapLayer(
      options.featureMap, dimension: extents.keyDimension, scope: scope)
    decay =
      try options.decayRank.map {
        try LinearChain(
          inputs: hidden, rank: $0, outputs: extents.keyWidth, hasBias: true,
          scope: scope["gk_proj"])
      }
      ?? LinearChain([
        try Linear(
          inputs: hidden, outputs: options.heads, hasBias: true, scope: scope["gk_proj"])
      ])
    let width = options.heads * extents.valueDimension
    gate =
      options.gate == nil
      ? nil : try Linear(inputs: hidden, outputs: width, scope: scope["g_proj"])
    let norm = try GatedNorm(
      width: extents.valueDimension, gate: options.gate ?? .swish, epsilon: options.normEpsilon,
      scope: scope[options.gate == .swish ? "g_norm_swish_gate" : "g_norm"])
    output = try GatedOutput(
      width: width, hidden: hidden, norm: norm, outputScale: outputScale,
      scope: scope["o_proj"])
  }

  public func mixed(_ x: Tensor, _ stream: inout TokenStream) throws -> Tensor {
    let rows = try projections(x, &stream)
    var gates = try decay(x).logSigmoid(dividedBy: options.decayDivisor)
    if let smallest = options.smallestDecay { gates = try gates.clamped(to: smallest...) }
    if options.decayRank != nil {
      gates = try gates.separated(dimension: projections.extents.keyDimension)
        .repeatedHeads(to: options.heads)
    }
    let result = try linearAttention(
      queries: featureMap(rows.queries),
      keys: stream.withoutPadding(featureMap(rows.keys).repeatedHeads(to: options.heads)),
      values: stream.withoutPadding(rows.values.repeatedHeads(to: options.heads)),
      decay: stream.withoutPadding(gates), initialState: stream.states["state"],
      cumulativeLengths: stream.cumulativeLengths)
    stream.states["state"] = result.finalState
    return try output(result.output, gate: gate?(x))
  }
}

extension GatedLinearAttention {
  /// How a layer divides its width, and how its state decays.
  public struct Options: MixerOptions {
    public var heads: Int
    /// Heads of keys, values and decays, each shared by a group of ``heads``; nil for as many.
    public var keyValueHeads: Int?
    /// The keys' width over all heads, as a multiple of the hidden size.
    public var keyExpansion = 0.5
    /// The values' width over all heads, as a multiple of the hidden size.
    public var valueExpansion = 1.0
    /// Convolutions of queries, keys and values, with a silu.
    public var convolution = ConvolutionOptions(width: nil)
    /// Of queries and keys; one without parameters.
    public var featureMap = FeatureMap.identity
    /// The width between the two projections that make a decay per channel; nil for one decay per head.
    public var decayRank: Int? = 16
    /// Log-decays are divided by this: with larger values the state decays more slowly.
    public var decayDivisor = 16.0
    /// Log-decays are at least this; nil for no limit.
    public var smallestDecay: Double?
    /// Nil for no gate.
    public var gate: OutputGate? = .swish
    /// ε of the norm over each head.
    public var normEpsilon = 1e-6

    public init(heads: Int) { self.heads = heads }
    public init() { self.init(heads: 4) }

    public func validate(hidden: Int) throws {
      _ = try extents(hidden: hidden)
      try convolution.validate()
      try LayerError.require("featureMap", hasNoParameters: featureMap)
      if let decayRank { try LayerError.require("decayRank", isExtent: decayRank) }
      try LayerError.require("decayDivisor", isPositive: decayDivisor)
      if let smallestDecay, !(smallestDecay <= 0) {
        throw LayerError.invalidArgument(
          "smallestDecay", was: "\(smallestDecay)", mustBe: "at most 0")
      }
      try LayerError.require("normEpsilon", isPositive: normEpsilon)
    }

    func extents(hidden: Int) throws -> HeadExtents {
      try HeadExtents(
        hidden: hidden, heads: heads, keyValueHeads: keyValueHeads, keyExpansion: keyExpansion,
        valueExpansion: valueExpansion)
    }
  }
}
