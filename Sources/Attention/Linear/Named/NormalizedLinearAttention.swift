import AttentionTensors

/// Linear attention whose weights sum to one: the read of the state, divided by that of the summed keys,
///
///     S_t = S_{t−1} + k_t v_tᵀ ,   z_t = z_{t−1} + k_t ,   o_t = S_tᵀ q_t / (z_tᵀ q_t + ε)
///
/// Queries and keys are nonnegative feature maps; the scale cancels. The summed keys are one more column of
/// the state, written by values of one.
///
/// Reference: Katharopoulos, Vyas, Pappas, Fleuret,
/// [*Transformers are RNNs*](https://arxiv.org/abs/2006.16236) (2020). With a decay, weights fall with
/// distance and still sum to one.
///
/// - Parameters:
///   - queries: `[b, t, h, k]`
///   - keys: `[b, t, h, k]`
///   - values: `[b, t, hv, v]`; h divides hv.
///   - decay: the natural logarithm of the decay, as ``linearAttention(queries:keys:values:decay:update:scale:normalizesQueriesAndKeys:initialState:cumulativeLengths:kernel:)``
///   takes it; nil for none.
///   - epsilon: ε, which keeps the quotient finite if all weights are zero.
///   - initialState: `[n, hv, k, v + 1]`, whose last column is the summed keys; nil is zero.
///   - cumulativeLengths: `int32 [n + 1]` for packed sequences.
///   - kernel: the name of the kernel to run; nil for the one with the lowest estimate.
/// - Returns: the output [b, t, hv, v], and the state with the summed keys as its last column.
/// - Throws: ``AttentionError`` naming the invalid argument.
public func normalizedLinearAttention(
  queries: Tensor, keys: Tensor, values: Tensor, decay: Tensor? = nil, epsilon: Double = 1e-10,
  initialState: Tensor? = nil, cumulativeLengths: Tensor? = nil, kernel: String? = nil
) throws -> LinearAttentionResult {
  _ = try NamedRows(keys: keys, values: values)
  let width = values.shape[3]
  let ones = try Tensor.ones(
    Shape(values.shape.dimensions[..<3] + [1]), dtype: values.dtype, device: values.device)
  let result = try linearAttention(
    queries: queries, keys: keys, values: .concatenated([values, ones], 3), decay: decay, scale: 1,
    initialState: initialState, cumulativeLengths: cumulativeLengths, kernel: kernel)
  // ε is too small for half precision.
  let output = try result.output.widened()
  let weighted = try output.sliced(3, 0..<width)
  let total = try output.sliced(3, width..<width + 1) + epsilon
  return LinearAttentionResult(
    output: try (weighted / total).cast(to: queries.dtype), finalState: result.finalState,
    explanation: result.explanation)
}
