import AttentionOperators
import AttentionTensors

/// Multi-head latent attention: keys and values of all heads are products of one short vector per token, which is all
/// that its cache keeps, beside a key of a few rotated elements that heads share.
///
///     c_t = RMSNorm(first part of W_a x_t) ,  r_t = rotate(last part of W_a x_t)
///     k_t = (W_k c_t, r_t) ,  v_t = W_v c_t ,  q_t = (W_q z_t, rotate(W_r z_t)) for each head
///     O = softmax(s Q Kᵀ) V ,  y = W_o O ,  where z = x, or RMSNorm(W_b x) with a rank of queries
///
/// A few queries after many tokens are multiplied by W_k first, and attend to c itself: (W_kᵀ q)·c = q·(W_k c). Then
/// no key or value of an earlier token is computed again.
///
/// Parameters: `q_proj`, or `q_a_proj`, `q_a_layernorm` and `q_b_proj`; `kv_a_proj_with_mqa`, `kv_a_layernorm`,
/// `kv_b_proj`, whose rows are W_k and W_v for each head, and `o_proj`.
///
/// Reference: DeepSeek-AI, [*DeepSeek-V2*](https://arxiv.org/abs/2405.04434) (2024).
public struct LatentAttention: TokenMixer, ConfiguredMixer {
  private let hidden: Int
  private let options: Options
  private let rotary: RotaryEmbedding?
  /// The projections of queries, and the norm between two.
  private let queries: [Linear]
  private let queryNorm: RMSNorm?
  private let compress: Linear
  private let norm: RMSNorm
  /// W_k and W_v, [heads · (plain + value dimension), rank]
  private let expand: Linear
  private let output: Linear

  public init(hidden: Int, options: Options, outputScale: Double, scope: ParameterScope) throws {
    try options.validate(hidden: hidden)
    self.hidden = hidden
    self.options = options
    rotary = try options.rotary()
    let (heads, rank) = (options.heads, options.rank)
    let queryWidth = heads * options.keyDimension
    func rmsNorm(_ name: String, _ width: Int) throws -> RMSNorm {
      try RMSNorm(width: width, epsilon: options.normEpsilon, scope: scope[name])
    }
    if let queryRank = options.queryRank {
      queries = [
        try Linear(
          inputs: hidden, outputs: queryRank, hasBias: options.hasBias, scope: scope["q_a_proj"]),
        try Linear(inputs: queryRank, outputs: queryWidth, scope: scope["q_b_proj"]),
      ]
      queryNorm = try rmsNorm("q_a_layernorm", queryRank)
    } else {
      queries = [try Linear(inputs: hidden, outputs: queryWidth, scope: scope["q_proj"])]
      queryNorm = nil
    }
    compress = try Linear(
      inputs: hidden, outputs: rank + options.rotaryDimension, hasBias: options.hasBias,
      scope: scope["kv_a_proj_with_mqa"])
    norm = try rmsNorm("kv_a_layernorm", rank)
    expand = try Linear(
      inputs: rank, outputs: heads * (options.plainDimension + options.valueDimension),
      scope: scope["kv_b_proj"])
    output = try Linear(
      inputs: heads * options.valueDimension, outputs: hidden, hasBias: options.hasBias,
      scale: outputScale, scope: scope["o_proj"])
  }

  /// It has the shared rotated keys as keys, and the compressed vectors as values, of one head.
  public func makeCache() -> any MixerCache { KeyValueCache() }

  public func callAsFunction(
    _ x: Tensor, context: TokenContext, cache: inout (any MixerCache)?
  ) throws -> Tensor {
    try validate(x, hidden: hidden, context: context, cache: cache)
    func rotated(_ heads: Tensor) throws -> Tensor {
      try rotary?(heads, context: context) ?? heads
    }
    let parts = try projectedQueries(x).separatedHeads(options.heads)
      .split(-1, sizes: [options.plainDimension, options.rotaryDimension])
    let (plain, turned) = (parts[0], try rotated(parts[1]))
    let compressed = try compress(x).split(-1, sizes: [options.rank, options.rotaryDimension])
    var latents = try norm(compressed[0].contiguous()).separatedHeads(1)
    var sharedKeys = try rotated(compressed[1].contiguous().separatedHeads(1))
    var keyMask = context.paddingMask
    var kept = try cache.asKind(KeyValueCache.self)
    if let visible = try kept?.append(keys: sharedKeys, values: latents, mask: keyMask) {
      (sharedKeys, latents, keyMask) = (visible.keys, visible.values, visible.mask)
    }
    let mask = AttentionMask(
      isCausal: true, keyMask: keyMask, cumulativeLengths: context.cumulativeLengths)
    let mixed =
      try readsLatents(
        queries: context.length, keys: latents.shape[1], device: x.device)
      ? readingLatents(plain, turned, latents, sharedKeys, mask)
      : readingHeads(plain, turned, latents, sharedKeys, mask)
    cache = kept
    return try output(mixed.joinedHeads())
  }

  /// [batch, length, heads · key dimension]
  private func projectedQueries(_ x: Tensor) throws -> Tensor {
    guard let queryNorm else { return try queries[0](x) }
    return try queries[1](queryNorm(queries[0](x)))
  }

  private var scale: Scale {
    .number(options.scale ?? 1 / Double(options.keyDimension).squareRoot())
  }

  /// The largest dimension of a query that GPU kernels take.
  private static let largestDeviceDimension = 256

  /// Whether attending to latents takes fewer products than computing every key and value.
  private func readsLatents(queries: Int, keys: Int, device: Device) -> Bool {
    guard
      device == .cpu
        || options.rank + options.rotaryDimension <= Self.largestDeviceDimension
    else { return false }
    let (rank, plain) = (options.rank, options.plainDimension)
    let expanded = plain + options.valueDimension
    let heads =
      keys * rank * expanded + queries * keys * (expanded + options.rotaryDimension)
    let latents =
      queries * rank * expanded + queries * keys * (2 * rank + options.rotaryDimension)
    return latents < heads
  }

  /// Attention to the keys and values of every head.
  private func readingHeads(
    _ plain: Tensor, _ turned: Tensor, _ latents: Tensor, _ sharedKeys: Tensor,
    _ mask: AttentionMask
  ) throws -> Tensor {
    let expanded = try expand(latents.joinedHeads()).separatedHeads(options.heads)
      .split(-1, sizes: [options.plainDimension, options.valueDimension])
    let shared = try sharedKeys.expanded(
      to: [
        sharedKeys.shape[0], sharedKeys.shape[1], options.heads, options.rotaryDimension,
      ])
    let queries = try Tensor.concatenated([plain, turned], -1)
    let keys = try Tensor.concatenated([expanded[0], shared], -1)
    return try attention(
      queries: queries, keys: keys, values: expanded[1],
      similarity: .dotProduct(scale: scale), mask: mask
    ).output
  }

  /// Attention to the latents, as one head of keys and values that all query heads share.
  private func readingLatents(
    _ plain: Tensor, _ turned: Tensor, _ latents: Tensor, _ sharedKeys: Tensor,
    _ mask: AttentionMask
  ) throws -> Tensor {
    // [heads, plain or value dimension, rank]
    let rows = try expand.weight
      .reshaped([
        options.heads, options.plainDimension + options.valueDimension, options.rank,
      ])
      .split(1, sizes: [options.plainDimension, options.valueDimension])
    let queries = try Tensor.concatenated([perHead(plain, rows[0]), turned], -1)
    let keys = try Tensor.concatenated([latents, sharedKeys], -1)
    let mixed = try attention(
      queries: queries, keys: keys, values: latents,
      similarity: .dotProduct(scale: scale), mask: mask
    ).output
    return try perHead(mixed, rows[1].transposed())
  }

  /// [batch, length, heads, n] times a matrix [n, m] of each head: [batch, length, heads, m].
  private func perHead(_ x: Tensor, _ matrices: Tensor) throws -> Tensor {
    let (batch, length) = (x.shape[0], x.shape[1])
    let heads = try x.transposed(0, 2).reshaped([options.heads, length * batch, x.shape[3]])
    return try heads.matmul(matrices)
      .reshaped([options.heads, length, batch, matrices.shape[2]]).transposed(0, 2)
  }
}

extension LatentAttention {
  /// How a layer divides its width.
  public struct Options: MixerOptions {
    public var heads: Int
    /// The dimension of the vector that keys and values are made of.
    public var rank = 512
    /// The dimension of the vector that queries are made of; nil if that is x.
    public var queryRank: Int?
    /// How many elements of a head's query and key are not rotated.
    public var plainDimension = 128
    /// How many elements of a query are rotated, and of the key that all heads share.
    public var rotaryDimension = 64
    public var valueDimension = 128
    /// The base of the rotary frequencies; nil for no rotary embedding.
    public var rotaryTheta: Double? = RotaryEmbedding.defaultTheta
    public var rotaryScaling: RotaryScaling?
    /// Whether the rotary embedding pairs adjacent elements.
    public var isRotaryInterleaved = true
    /// The factor of the products of queries and keys; nil for 1/√dimension, of plain and rotated elements.
    public var scale: Double?
    /// Whether the projections from and to the hidden size have biases, other than `q_proj`.
    public var hasBias = false
    public var normEpsilon = 1e-6

    public init(heads: Int) { self.heads = heads }
    public init() { self.init(heads: 4) }

    /// The dimension of a query and of a key.
    var keyDimension: Int { plainDimension + rotaryDimension }

    public func validate(hidden: Int) throws {
      try LayerError.require("hiddenSize", isExtent: hidden)
      try LayerError.require("heads", isExtent: heads)
      try LayerError.require("rank", isExtent: rank)
      if let queryRank { try LayerError.require("queryRank", isExtent: queryRank) }
      try LayerError.require("plainDimension", isExtent: plainDimension)
      try LayerError.require("rotaryDimension", isExtent: rotaryDimension)
      try LayerError.require("valueDimension", isExtent: valueDimension)
      if let scale { try LayerError.require("attentionScale", isPositive: scale) }
      try LayerError.require("normEpsilon", isPositive: normEpsilon)
      _ = try rotary()
    }

    func rotary() throws -> RotaryEmbedding? {
      try rotaryTheta.map {
        try RotaryEmbedding(
          dimension: rotaryDimension, theta: $0, scaling: rotaryScaling,
          isInterleaved: isRotaryInterleaved)
      }
    }
  }
}
