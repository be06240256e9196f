import AttentionTensors

/// Gated linear attention: linear attention with a decay per channel of the key,
///
///     S_t = diag(e^(g_t)) S_{t−1} + k_t v_tᵀ ,   o_t = scale · S_tᵀ q_t
///
/// Reference: Yang, Wang, Shen, Panda, Kim,
/// [*Gated linear attention transformers*](https://arxiv.org/abs/2312.06635) (2023).
///
/// - Parameters:
///   - queries: `[b, t, h, k]`
///   - keys: `[b, t, h, k]`
///   - values: `[b, t, hv, v]`; h divides hv.
///   - decay: g [b, t, hv, k], a natural logarithm, at most 0.
///   - scale: the factor of the queries; nil is 1/√k.
///   - initialState: `[n, hv, k, v]`; nil is zero.
///   - cumulativeLengths: `int32 [n + 1]` for packed sequences.
///   - kernel: the name of the kernel to run; nil for the one with the lowest estimate.
/// - Throws: ``AttentionError`` naming the invalid argument.
public func gatedLinearAttention(
  queries: Tensor, keys: Tensor, values: Tensor, decay: Tensor, scale: Double? = nil,
  initialState: Tensor? = nil, cumulativeLengths: Tensor? = nil, kernel: String? = nil
) throws -> LinearAttentionResult {
  let rows = try NamedRows(keys: keys, values: values)
  return try linearAttention(
    queries: queries, keys: keys, values: values, decay: decay.checked("decay", rows.keys),
    scale: scale,
    initialState: initialState, cumulativeLengths: cumulativeLengths, kernel: kernel)
}
