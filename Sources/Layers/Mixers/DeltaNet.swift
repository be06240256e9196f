import AttentionOperators
import AttentionTensors

/// DeltaNet: a matrix state per head, of which each token replaces a fraction β of what is held for its key.
///
///     S_t = S_{t−1} + β_t k_t (v_t − S_{t−1}ᵀ k_t)ᵀ ,   o_t = S_tᵀ q_t / √d ,   β = σ(W_b x)
///     y = Wₒ (RMSNorm(o) ⊙ silu(W_g x)) ,  where the norm is over each head
///
/// Parameters: `q_proj`, `k_proj`, `v_proj`, their `q_conv1d`, … unless there are no convolutions, `b_proj` unless
/// β is constant, `g_proj` if there is a gate, `o_norm`, `o_proj`, as in flash-linear-attention.
///
/// Reference: Yang, Wang, Zhang, Shen, Kim,
/// [*Parallelizing linear transformers with the delta rule over sequence length*](https://arxiv.org/abs/2406.06484)
/// (2024).
public struct DeltaNet: RecurrentMixer, ConfiguredMixer {
  public let hidden: Int
  private let options: Options
  private let projections: HeadProjections
  private let featureMap: FeatureMapLayer
  private let beta: Linear?
  private let gate: Linear?
  private let output: GatedOutput

  public init(hidden: Int, options: Options, outputScale: Double, scope: ParameterScope) throws {
    try options.validate(hidden: hidden)
    let extents = try options.extents(hidden: hidden)
    // The silu of queries and keys is that of their convolutions.
    let convolves = options.featureMap == .swish
    self.hidden = hidden
    self.options = options
    projections = try HeadProjections(
      hidden: hidden, extents: extents, convolution: options.convolution, appliesSiLU: convolves,
      valuesApplySiLU: true, scope: scope)
    featureMap = try FeatureMapLayer(
      convolves ? .identity : options.featureMap, dimension: extents.keyDimension, scope: scope)
    beta =
      options.hasBeta
      ? try Linear(inputs: hidden, outputs: options.heads, scope: scope["b_proj"]) : nil
    gate =
      options.hasGate
      ? try Linear(inputs: hidden, outputs: extents.valueWidth, scope: scope["g_proj"]) : nil
    let norm = try GatedNorm(
      width: extents.valueDimension, epsilon: options.normEpsilon, scope: scope["o_norm"])
    output = try GatedOutput(
      width: extents.valueWidth, hidden: hidden, norm: norm, outputScale: outputScale,
      scope: scope["o_proj"])
  }

  public func mixed(_ x: Tensor, _ stream: inout TokenStream) throws -> Tensor {
    let rows = try projections(x, &stream)
    let result = try deltaNet(
      queries: normalized(featureMap(rows.queries)), keys: normalized(featureMap(rows.keys)),
      values: rows.values, beta: stream.withoutPadding(beta(x)),
      normalizesQueriesAndKeys: options.norm == .l2, initialState: stream.states["state"],
      cumulativeLengths: stream.cumulativeLengths)
    stream.states["state"] = result.finalState
    return try output(result.output, gate: gate?(x))
  }

  /// [batch, length, heads]
  private func beta(_ x: Tensor) throws -> Tensor {
    let largest = options.allowsNegativeEigenvalues ? 2.0 : 1
    guard let beta else {
      return try .full(
        [x.shape[0], x.shape[1], options.heads], largest, dtype: x.dtype, device: x.device)
    }
    return try beta(x).inGatePrecision().sigmoid() * largest
  }

  /// Queries or keys, unless the operator normalises them.
  private func normalized(_ x: Tensor) throws -> Tensor {
    guard options.norm == .sum else { return x }
    let smallest = try Tensor.full([], Options.smallestSum, dtype: x.dtype)
    return try x / x.absolute().sum([-1], keepsAxes: true).maximum(smallest)
  }
}

extension DeltaNet {
  /// The norm of queries and keys.
  public enum Norm: String, CaseIterable, Sendable, Codable {
    /// √Σ x²
    case l2
    /// Σ |x|
    case sum
  }

  /// How a layer divides its width.
  public struct Options: MixerOptions {
    public var heads: Int
    /// The keys' width over all heads, as a multiple of the hidden size.
    public var keyExpansion = 1.0
    /// The values' width over all heads, as a multiple of the hidden size.
    public var valueExpansion = 1.0
    public var convolution = ConvolutionOptions()
    /// Of queries and keys; one without parameters.
    public var featureMap = FeatureMap.swish
    public var norm = Norm.l2
    /// Whether β depends on the token; otherwise it is 1.
    public var hasBeta = true
    /// Whether β is from 0 to 2, so that a token can negate what the state holds for its key.
    public var allowsNegativeEigenvalues = false
    /// Whether the output has a gate.
    public var hasGate = false
    /// ε of the norm over each head.
    public var normEpsilon = 1e-5

    /// The least divisor of queries and keys with ``Norm/sum``.
    static let smallestSum = 1e-6

    public init(heads: Int) { self.heads = heads }
    public init() { self.init(heads: 4) }

    public func validate(hidden: Int) throws {
      _ = try extents(hidden: hidden)
      try convolution.validate()
      try LayerError.require("featureMap", hasNoParameters: featureMap)
      try LayerError.require("normEpsilon", isPositive: normEpsilon)
    }

    func extents(hidden: Int) throws -> HeadExtents {
      try HeadExtents(
        hidden: hidden, heads: heads, keyExpansion: keyExpansion, valueExpansion: valueExpansion)
    }
  }
}
