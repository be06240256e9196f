import AttentionTensors

/// Exact attention: O = softmax(s) V with s = similarity + bias, masked.
///
/// The plain equivalent, for one head and no options:
///
///     let scores = try queries.matmul(keys.transposed()) * scale
///     let output = try scores.softmax().matmul(values)
///
/// A query that attends to no key gets a zero output, a log-sum-exp of −∞ and zero gradients. Tokens excluded
/// by the mask, or by a bias of −∞, affect nothing and may hold NaN and infinity: padding, or unwritten pages
/// of a cache. Queries, keys, values, a scale per head and floating-point tensors among the terms have
/// gradients if they are tracked.
///
/// The call runs on the device of its tensors. On a GPU it is enqueued, and the host waits only for
/// cumulative lengths of packed sequences that are on the GPU.
///
/// References: Vaswani et al., *Attention is all you need* (2017); Dao, *FlashAttention-2* (2023);
/// for cosine similarity Henry et al., *Query-key normalization for transformers* (2020).
///
/// - Parameters:
///   - queries: `[batch, t, heads, k]`, floating-point, any strides.
///   - keys: `[batch, s, key/value heads, k]`; the key/value heads divide the heads.
///   - values: `[batch, s, key/value heads, v]`.
///   - similarity: scaled dot product or cosine.
///   - mask: which keys a query may attend to.
///   - terms: the terms applied to the scores.
///   - allowsTF32: whether a GPU may round float32 operands of products to the 11 bits of TF32, which is
///     faster and has an error of about 10⁻³.
///   - kernel: the name of the kernel to run; nil for the one with the lowest estimate.
/// - Throws: ``AttentionError``
public func attention(
  queries: Tensor, keys: Tensor, values: Tensor, similarity: Similarity = .dotProduct(),
  mask: AttentionMask = AttentionMask(), terms: ScoreTerms = ScoreTerms(), allowsTF32: Bool = false,
  kernel: String? = nil
) throws -> AttentionResult {
  try OperatorCall<ExactAttention>(
    queries: queries, keys: keys, values: values, similarity: similarity, mask: mask, terms: terms,
    allowsTF32: allowsTF32, kernel: kernel
  ).run()
}

/// The results of ``attention(queries:keys:values:similarity:mask:terms:allowsTF32:kernel:)``: `output`
/// [batch, queries, heads, value dimension] in the inputs' dtype, `logSumExp` [batch, heads, queries] in
/// float32, and which kernel ran.
public typealias AttentionResult = OperatorResults<ExactAttention>

extension OperatorResults where Op == ExactAttention {
  /// [batch, queries, heads, value dimension] in the inputs' dtype.
  public var output: Tensor { self[.output] }
  /// [batch, heads, queries] in float32: log Σ exp(s) over the keys that the query may attend to and the
  /// sink; −∞ if the sum is empty.
  public var logSumExp: Tensor { self[.logSumExp] }
}

extension OperatorCall where Op == ExactAttention {
  /// The call that
  /// ``attention(queries:keys:values:similarity:mask:terms:allowsTF32:kernel:)`` runs, with its arguments.
  ///
  /// - Throws: ``AttentionError/invalidArgument(_:was:mustBe:)`` naming the first invalid argument.
  public init(
    queries: Tensor, keys: Tensor, values: Tensor, similarity: Similarity = .dotProduct(),
    mask: AttentionMask = AttentionMask(), terms: ScoreTerms = ScoreTerms(),
    allowsTF32: Bool = false, kernel: String? = nil
  ) throws {
    var options = ExactOptions()
    var inputs: OperatorTensors<ExactInput> = [.queries: queries, .keys: keys, .values: values]
    inputs[.scale] = options.set(similarity)
    inputs[.keyMask] = mask.keyMask
    inputs[.cumulativeLengths] = mask.cumulativeLengths
    for (input, tensor) in terms.inputs { inputs[input] = tensor }
    (options.isCausal, options.alignment, options.window) =
      (mask.isCausal, mask.alignment, mask.window)
    options.terms = terms.options
    options.allowsTF32 = allowsTF32
    try self.init(inputs, options, kernel: kernel)
  }
}
