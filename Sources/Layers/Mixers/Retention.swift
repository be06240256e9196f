import AttentionOperators
import AttentionTensors

/// Multi-scale retention: linear attention with rotary positions, whose heads decay at fixed rates.
///
///     S_t = γ S_{t−1} + k_t v_tᵀ ,  o_t = S_tᵀ q_t / √d ,  γ = 1 − 2^(−5 − j) for head j
///     y = Wₒ (RMSNorm(o) ⊙ gate(W_g x)) ,  where the norm is over each head
///
/// Parameters: `q_proj`, `k_proj`, `v_proj`, their `q_conv1d`, … if there are convolutions, `g_proj`,
/// `g_norm_swish_gate` or, for any other gate, `g_norm`, and `o_proj`, as in flash-linear-attention.
///
/// Reference: Sun et al., [*Retentive Network*](https://arxiv.org/abs/2307.08621) (2023).
public struct Retention: RecurrentMixer, ConfiguredMixer {
  public let hidden: Int
  private let options: Options
  private let projections: HeadProjections
  private let featureMap: FeatureMapLayer
  private let rotary: RotaryEmbedding
  /// ln γ [heads], on the device of the parameters.
  private let decay: Tensor
  private let gate: Linear?
  private let output: GatedOutput

  public init(hidden: Int, options: Options, outputScale: Double, scope: ParameterScope) throws {
    try options.validate(hidden: hidden)
    let extents = try options.extents(hidden: hidden)
    self.hidden = hidden
    self.options = options
    projections = try HeadProjections(
      hidden: hidden, extents: extents, convolution: options.convolution,
      appliesSiLU: options.convolution.width != nil, scope: scope)
    featureMap = try FeatureMapLayer(
      options.featureMap, dimension: extents.keyDimension, scope: scope)
    rotary = try RotaryEmbedding(dimension: extents.keyDimension, theta: options.rotaryTheta)
    let width = options.heads * extents.valueDimension
    gate =
      options.gate == nil
      ? nil : try Linear(inputs: hidden, outputs: width, scope: scope["g_proj"])
    let norm = try GatedNorm(
      width: extents.valueDimension, gate: options.gate ?? .swish, epsilon: options.normEpsilon,
      scope: scope[options.gate == .swish ? "g_norm_swish_gate" : "g_norm"])
    output = try GatedOutput(
      width: width, hidden: hidden, norm: norm, outputScale: outputScale, scope: scope["o_proj"])
    decay = try retentionDecay(heads: options.heads).moved(to: norm.weight.device)
  }

  public func mixed(_ x: Tensor, _ stream: inout TokenStream) throws -> Tensor {
    let rows = try projections(x, &stream)
    let keys = try rotary(featureMap(rows.keys), context: stream.context)
    let result = try linearAttention(
      queries: rotary(featureMap(rows.queries), context: stream.context),
      keys: stream.withoutPadding(keys.repeatedHeads(to: options.heads)),
      values: stream.withoutPadding(rows.values.repeatedHeads(to: options.heads)),
      decay: stream.decays(perHead: decay), initialState: stream.states["state"],
      cumulativeLengths: stream.cumulativeLengths)
    stream.states["state"] = result.finalState
    return try output(result.output, gate: gate?(x))
  }
}

extension Retention {
  /// How a layer divides its width.
  public struct Options: MixerOptions {
    public var heads: Int
    /// Heads of keys and values, each shared by a group of ``heads``; nil for as many.
    public var keyValueHeads: Int?
    /// The keys' width over all heads, as a multiple of the hidden size.
    public var keyExpansion = 1.0
    /// The values' width over all heads, as a multiple of the hidden size.
    public var valueExpansion = 2.0
    /// Convolutions of queries, keys and values, with a silu.
    public var convolution = ConvolutionOptions(width: nil)
    /// Of queries and keys; one without parameters.
    public var featureMap = FeatureMap.identity
    public var rotaryTheta = RotaryEmbedding.defaultTheta
    /// Nil for no gate.
    public var gate: OutputGate? = .swish
    /// ε of the norm over each head.
    public var normEpsilon = 1e-5

    public init(heads: Int) { self.heads = heads }
    public init() { self.init(heads: 4) }

    public func validate(hidden: Int) throws {
      let extents = try extents(hidden: hidden)
      try convolution.validate()
      try LayerError.require("featureMap", hasNoParameters: featureMap)
      _ = try RotaryEmbedding(dimension: extents.keyDimension, theta: rotaryTheta)
      try LayerError.require("normEpsilon", isPositive: normEpsilon)
    }

    func extents(hidden: Int) throws -> HeadExtents {
      try HeadExtents(
        hidden: hidden, heads: heads, keyValueHeads: keyValueHeads, keyExpansion: keyExpansion,
        valueExpansion: valueExpansion)
    }
  }
}
