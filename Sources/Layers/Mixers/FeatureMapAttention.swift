import AttentionOperators
import AttentionTensors

/// Linear attention: products of features of queries and keys in place of softmax weights, so that a matrix state
/// per head holds all earlier tokens.
///
///     S_t = S_{t−1} + φ(k_t) v_tᵀ ,   o_t = S_tᵀ φ(q_t) / √d ,   y = Wₒ RMSNorm(o)
///
/// or, normalised, o_t = S_tᵀ φ(q_t) / Σ_{s ≤ t} φ(k_s)ᵀ φ(q_t). The norm is over each head.
///
/// Parameters: `q_proj`, `k_proj`, `v_proj`, `feature_map_q` and `feature_map_k` if the features have any, `norm`
/// unless there is none, `o_proj`, as in flash-linear-attention.
///
/// Reference: Katharopoulos, Vyas, Pappas, Fleuret, [*Transformers are RNNs*](https://arxiv.org/abs/2006.16236)
/// (2020).
public struct FeatureMapAttention: RecurrentMixer, ConfiguredMixer {
  public let hidden: Int
  private let options: Options
  private let projections: HeadProjections
  private let queryFeatures, keyFeatures: FeatureMapLayer
  private let norm: GatedNorm?
  private let output: Linear

  public init(hidden: Int, options: Options, outputScale: Double, scope: ParameterScope) throws {
    try options.validate(hidden: hidden)
    let extents = try options.extents(hidden: hidden)
    func features(_ name: String) throws -> FeatureMapLayer {
      try FeatureMapLayer(
        options.featureMap, dimension: extents.keyDimension, scope: scope[name])
    }
    self.hidden = hidden
    self.options = options
    projections = try HeadProjections(
      hidden: hidden, extents: extents, convolution: ConvolutionOptions(width: nil),
      appliesSiLU: false, scope: scope)
    queryFeatures = try features("feature_map_q")
    keyFeatures = try features("feature_map_k")
    norm =
      options.hasNorm
      ? try GatedNorm(
        width: extents.valueDimension, epsilon: options.normEpsilon, scope: scope["norm"]) : nil
    output = try Linear(
      inputs: options.heads * extents.valueDimension, outputs: hidden, scale: outputScale,
      scope: scope["o_proj"])
  }

  public func mixed(_ x: Tensor, _ stream: inout TokenStream) throws -> Tensor {
    let rows = try projections(x, &stream)
    let queries = try summedToOne(queryFeatures(rows.queries), options.normalizesQueries)
    let keys = try stream.withoutPadding(
      summedToOne(keyFeatures(rows.keys), options.normalizesKeys)
        .repeatedHeads(to: options.heads))
    let values = try stream.withoutPadding(rows.values.repeatedHeads(to: options.heads))
    let state = stream.states["state"]
    let result =
      options.normalizes
      ? try normalizedLinearAttention(
        queries: queries, keys: keys, values: values, initialState: state,
        cumulativeLengths: stream.cumulativeLengths)
      : try linearAttention(
        queries: queries, keys: keys, values: values, initialState: state,
        cumulativeLengths: stream.cumulativeLengths)
    stream.states["state"] = result.finalState
    return try output((norm?(result.output) ?? result.output).joinedHeads())
  }

  private func summedToOne(_ features: Tensor, _ isWanted: Bool) throws -> Tensor {
    guard isWanted else { return features }
    let epsilon = 1e-4
    return try features / (features.sum([-1], keepsAxes: true) + epsilon)
  }
}

extension FeatureMapAttention {
  /// How a layer divides its width, and what it normalises.
  public struct Options: MixerOptions {
    public var heads: Int
    /// Heads of keys and values, each shared by a group of ``heads``; nil for as many.
    public var keyValueHeads: Int?
    /// The keys' width over all heads, as a multiple of the hidden size.
    public var keyExpansion = 1.0
    /// The values' width over all heads, as a multiple of the hidden size.
    public var valueExpansion = 1.0
    /// φ
    public var featureMap = FeatureMap.elu
    /// Whether the features of a query are divided by their sum.
    public var normalizesQueries = false
    /// Whether the features of a key are divided by their sum.
    public var normalizesKeys = false
    /// Whether the weights of an output are divided by their sum.
    public var normalizes = false
    /// Whether there is a norm over each head.
    public var hasNorm = true
    public var normEpsilon = 1e-5

    public init(heads: Int) { self.heads = heads }
    public init() { self.init(heads: 4) }

    public func validate(hidden: Int) throws {
      _ = try extents(hidden: hidden)
      try LayerError.require("normEpsilon", isPositive: normEpsilon)
    }

    func extents(hidden: Int) throws -> HeadExtents {
      try HeadExtents(
        hidden: hidden, heads: heads, keyValueHeads: keyValueHeads, keyExpansion: keyExpansion,
        valueExpansion: valueExpansion)
    }
  }
}
