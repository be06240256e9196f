import AttentionTensors

/// What ``attention(queries:keys:values:similarity:mask:terms:allowsTF32:kernel:)`` gives.
public struct AttentionResult: Sendable {
  /// [batch, queries, heads, value dimension] in the inputs' dtype.
  public let output: Tensor
  /// [batch, heads, queries] in float32: log Σ exp(s) over the visible keys and the sink; −∞ where
  /// there is none.
  public let logSumExp: Tensor
  /// Which kernel ran, and why not the others.
  public let explanation: Explanation
}

/// Exact attention: O = softmax(s) V with s = similarity + bias, masked.
///
/// The plain equivalent, for one head and no options:
///
///     let scores = try queries.matmul(keys.transposed()) * scale
///     let output = try scores.softmax().matmul(values)
///
/// A query that sees no key gets a zero output, a log-sum-exp of −∞ and zero gradients. What is hidden, by the
/// mask or by a bias of −∞, has no part in anything and may hold NaN and infinity: padding, or pages of a cache
/// that nobody has written. Queries,
/// keys, values, a scale per head, bias, logit decay and sinks have gradients where they are
/// tracked.
///
/// It is computed where the tensors are: on a GPU the work is queued, and nothing is waited for but lengths
/// of packed sequences that are on the GPU too.
///
/// References: Vaswani et al., *Attention is all you need* (2017); Dao, *FlashAttention-2* (2023);
/// for cosine similarity Henry et al., *Query-key normalization for transformers* (2020).
///
/// - Parameters:
///   - queries: `[batch, t, heads, k]`, floating-point, any strides.
///   - keys: `[batch, s, key/value heads, k]`; the key/value heads divide the heads.
///   - values: `[batch, s, key/value heads, v]`.
///   - similarity: scaled dot product or cosine.
///   - mask: which keys a query may attend.
///   - terms: what is added to the scores.
///   - allowsTF32: whether a GPU may round float32 operands of products to the 11 bits of TF32, which is
///     faster and has an error of about 10⁻³.
///   - kernel: the name of the kernel to run; nil for the one with the lowest estimate.
/// - Throws: ``AttentionError``
public func attention(
  queries: Tensor, keys: Tensor, values: Tensor, similarity: Similarity = .dotProduct(),
  mask: AttentionMask = AttentionMask(), terms: ScoreTerms = ScoreTerms(), allowsTF32: Bool = false,
  kernel: String? = nil
) throws -> AttentionResult {
  var scale: Tensor?
  if case .perHead(let tensor) = similarity.scale { scale = tensor }
  let optional = [scale, terms.bias, terms.logitDecay, terms.sinks]
  let needsGradient =
    queries.isTracked || keys.isTracked || values.isTracked
    || optional.contains { $0?.isTracked ?? false }
  let inputs = try ExactInputs(
    queries: queries, keys: keys, values: values, similarity: similarity, mask: mask,
    terms: terms, allowsTF32: allowsTF32, needsGradient: needsGradient)
  let verdict = try ExactAttention.verdicts.verdict(on: inputs.problem, kernel)
  let chosen = try verdict.kernel()
  let outputs = try chosen.outputs(of: inputs)
  let tracked = [queries, keys, values] + optional.compactMap { $0 }
  let dtypes = tracked.map(\.dtype)
  let present = optional.map { $0 != nil }
  let recorded = Tensor.recording(
    [outputs.output, outputs.logSumExp], from: tracked, operation: "attention"
  ) { incoming in
    let gradients = try chosen.gradients(
      of: inputs, outputs, outputGradient: incoming[0], logSumExpGradient: incoming[1])
    let others = [gradients.scale, gradients.bias, gradients.logitDecay, gradients.sinks]
    var all: [Tensor?] = [gradients.queries, gradients.keys, gradients.values]
    for (gradient, isPresent) in zip(others, present) where isPresent { all.append(gradient) }
    return try zip(all, dtypes).map { gradient, dtype in try gradient?.cast(to: dtype) }
  }
  return AttentionResult(
    output: recorded[0], logSumExp: recorded[1], explanation: verdict.explanation)
}

/// The kernels of exact attention and the choice between them.
public enum ExactAttention {
  /// All kernels, the preferred one of equal estimates first.
  public static let kernels: [any ExactKernel] = [
    DecodeExactKernel(), TiledExactKernel.bfloat16, TiledExactKernel.float32,
    PlainExactKernel.unfused, PlainExactKernel.reference, FlashExactKernel.half,
    FlashExactKernel.tf32, FlashExactKernel.float32,
  ]

  /// The verdict on a call with these arguments; nothing is computed.
  ///
  /// `device` is where it would be computed; nil for where the tensors are.
  public static func explain(
    queries: Tensor, keys: Tensor, values: Tensor, similarity: Similarity = .dotProduct(),
    mask: AttentionMask = AttentionMask(), terms: ScoreTerms = ScoreTerms(),
    allowsTF32: Bool = false,
    device: Device? = nil, needsGradient: Bool = false, kernel: String? = nil
  ) throws -> Explanation {
    let inputs = try ExactInputs(
      queries: queries.withoutElements(), keys: keys.withoutElements(),
      values: values.withoutElements(), similarity: similarity.withoutElements(),
      mask: mask.withoutElements(), terms: terms.withoutElements(), allowsTF32: allowsTF32,
      device: device, needsGradient: needsGradient)
    return try explain(inputs.problem, kernel: kernel)
  }

  /// The verdict on a problem.
  public static func explain(_ problem: ExactProblem, kernel: String? = nil) throws -> Explanation {
    try verdicts.verdict(on: problem, kernel).explanation
  }

  static let verdicts = Verdicts<ExactProblem, any ExactKernel>("attention", kernels) {
    $0.asKernel
  }
}
