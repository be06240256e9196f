import AttentionTensors

/// Kimi Delta Attention: the delta rule on a state whose rows each decay by their own α = e^g.
///
///     S_t = (I − β_t k_t k_tᵀ) diag(α_t) S_{t−1} + β_t k_t v_tᵀ ,   o_t = scale · S_tᵀ q_t
///
/// Reference: Kimi Team,
/// [*Kimi Linear: an expressive, efficient attention architecture*](https://arxiv.org/abs/2510.26692)
/// (2025).
///
/// - Parameters:
///   - queries: `[b, t, h, k]`
///   - keys: `[b, t, h, k]`
///   - values: `[b, t, hv, v]`
///   - decay: g = ln α [b, t, hv, k], at most 0.
///   - beta: β [b, t, hv], from 0 to 1, or to 2 for transitions with negative eigenvalues.
///   - scale: the factor of the queries; nil is 1/√k.
///   - normalizesQueriesAndKeys: whether queries and keys are normalised to unit vectors first.
///   - initialState: `[n, hv, k, v]`; nil is zero.
///   - cumulativeLengths: `int32 [n + 1]`, for packed sequences.
///   - kernel: the name of the kernel to run; nil for the one with the lowest estimate.
/// - Throws: ``AttentionError``, as the operator does.
public func kimiDeltaAttention(
  queries: Tensor, keys: Tensor, values: Tensor, decay: Tensor, beta: Tensor,
  scale: Double? = nil, normalizesQueriesAndKeys: Bool = true, initialState: Tensor? = nil,
  cumulativeLengths: Tensor? = nil, kernel: String? = nil
) throws -> LinearAttentionResult {
  try linearAttention(
    queries: queries, keys: keys, values: values, decay: decay, update: .delta(beta: beta),
    scale: scale, normalizesQueriesAndKeys: normalizesQueriesAndKeys, initialState: initialState,
    cumulativeLengths: cumulativeLengths, kernel: kernel)
}
