import AttentionTensors

/// DeltaNet: each token replaces a fraction β of what the state holds for its key.
///
///     S_t = S_{t−1} + β_t k_t (v_t − S_{t−1}ᵀ k_t)ᵀ ,   o_t = scale · S_tᵀ q_t
///
/// Reference: Yang, Wang, Zhang, Shen, Kim,
/// [*Parallelizing linear transformers with the delta rule over sequence length*](https://arxiv.org/abs/2406.06484)
/// (2024).
///
/// - Parameters:
///   - queries: `[b, t, h, k]`
///   - keys: `[b, t, h, k]`
///   - values: `[b, t, hv, v]`
///   - beta: β [b, t, hv], from 0 to 1, or to 2 for transitions with negative eigenvalues.
///   - scale: the factor of the queries; nil is 1/√k.
///   - normalizesQueriesAndKeys: whether queries and keys are normalised to unit vectors first.
///   - initialState: `[n, hv, k, v]`; nil is zero.
///   - cumulativeLengths: `int32 [n + 1]`, for packed sequences.
///   - kernel: the name of the kernel to run; nil for the one with the lowest estimate.
/// - Throws: ``AttentionError``, as the operator does.
public func deltaNet(
  queries: Tensor, keys: Tensor, values: Tensor, beta: Tensor, scale: Double? = nil,
  normalizesQueriesAndKeys: Bool = true, initialState: Tensor? = nil,
  cumulativeLengths: Tensor? = nil, kernel: String? = nil
) throws -> LinearAttentionResult {
  try linearAttention(
    queries: queries, keys: keys, values: values, update: .delta(beta: beta), scale: scale,
    normalizesQueriesAndKeys: normalizesQueriesAndKeys, initialState: initialState,
    cumulativeLengths: cumulativeLengths, kernel: kernel)
}
