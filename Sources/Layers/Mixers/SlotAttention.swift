import AttentionOperators
import AttentionTensors

/// Gated slot attention: softmax attention over m slots per head, into which tokens are written by gates.
///
///     K_t = diag(α_t) K_{t−1} + (1 − α_t) k_tᵀ ,   V_t = diag(α_t) V_{t−1} + (1 − α_t) v_tᵀ
///     o_t = V_tᵀ softmax(K_t q_t) ,   α = σ(W_f x)^(1/divisor) ,   y = Wₒ RMSNorm(silu(o))
///
/// Queries and keys go through a feature map, values through a silu. The norm is over all heads.
///
/// Parameters: `q_proj`, `k_proj`, `v_proj`, their `q_conv1d`, … if there are convolutions, `f_proj`, `feature_map` if
/// it has any, `g_norm`, `o_proj`, as in flash-linear-attention.
///
/// Reference: Zhang, Yang et al., [*Gated slot attention*](https://arxiv.org/abs/2409.07146) (2024).
public struct SlotAttention: RecurrentMixer, ConfiguredMixer {
  public let hidden: Int
  private let options: Options
  private let projections: HeadProjections
  private let featureMap: FeatureMapLayer
  private let forget: Linear
  private let norm: RMSNorm
  private let output: Linear

  public init(hidden: Int, options: Options, outputScale: Double, scope: ParameterScope) throws {
    try options.validate(hidden: hidden)
    let extents = try options.extents(hidden: hidden)
    self.hidden = hidden
    self.options = options
    projections = try HeadProjections(
      hidden: hidden, extents: extents, convolution: options.convolution,
      appliesSiLU: options.convolution.width != nil, scope: scope)
    featureMap = try FeatureMapLayer(
      options.featureMap, dimension: extents.keyDimension, scope: scope["feature_map"])
    forget = try Linear(
      inputs: hidden, outputs: extents.keyHeads * options.slots(extents), scope: scope["f_proj"])
    let width = options.heads * extents.valueDimension
    norm = try RMSNorm(width: width, epsilon: options.normEpsilon, scope: scope["g_norm"])
    output = try Linear(
      inputs: width, outputs: hidden, scale: outputScale, scope: scope["o_proj"])
  }

  public func mixed(_ x: Tensor, _ stream: inout TokenStream) throws -> Tensor {
    let heads = options.heads
    let rows = try projections(x, &stream)
    let decay = try forget(x).logSigmoid(dividedBy: options.decayDivisor)
    let result = try gatedSlotAttention(
      queries: featureMap(rows.queries), keys: featureMap(rows.keys).repeatedHeads(to: heads),
      values: rows.values.silu().repeatedHeads(to: heads),
      decay: stream.withoutPadding(decay).separatedHeads(projections.extents.keyHeads)
        .repeatedHeads(to: heads),
      scale: 1, initialKeyState: stream.states["keys"],
      initialValueState: stream.states["values"], cumulativeLengths: stream.cumulativeLengths)
    stream.states["keys"] = result.finalKeyState
    stream.states["values"] = result.finalValueState
    return try output(norm(result.output.joinedHeads().silu()))
  }
}

extension SlotAttention {
  /// How a layer divides its width, and how its slots decay.
  public struct Options: MixerOptions {
    public var heads: Int
    /// Heads of keys, values and gates, each shared by a group of ``heads``; nil for as many.
    public var keyValueHeads: Int?
    /// The keys' width over all heads, as a multiple of the hidden size.
    public var keyExpansion = 1.0
    /// The values' width over all heads, as a multiple of the hidden size.
    public var valueExpansion = 1.0
    /// m; nil for the dimension of a key.
    public var slots: Int?
    /// Convolutions of queries, keys and values, with a silu.
    public var convolution = ConvolutionOptions(width: nil)
    /// Of queries and keys; one that keeps the dimension.
    public var featureMap = FeatureMap.swish
    /// Log-decays are divided by this: with larger values slots decay more slowly.
    public var decayDivisor = 8.0
    public var normEpsilon = 1e-5

    public init(heads: Int) { self.heads = heads }
    public init() { self.init(heads: 4) }

    public func validate(hidden: Int) throws {
      let extents = try extents(hidden: hidden)
      try LayerError.require("slots", isExtent: slots(extents), times: heads)
      try convolution.validate()
      guard featureMap != .hedgehog else {
        throw LayerError.invalidArgument(
          "featureMap", was: featureMap.rawValue, mustBe: "one that keeps the dimension")
      }
      try LayerError.require("decayDivisor", isPositive: decayDivisor)
      try LayerError.require("normEpsilon", isPositive: normEpsilon)
    }

    func extents(hidden: Int) throws -> HeadExtents {
      try HeadExtents(
        hidden: hidden, heads: heads, keyValueHeads: keyValueHeads, keyExpansion: keyExpansion,
        valueExpansion: valueExpansion)
    }

    func slots(_ extents: HeadExtents) -> Int { slots ?? extents.keyDimension }
  }
}
