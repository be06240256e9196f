import AttentionTensors

/// Gated DeltaNet: the delta rule on a state that decays by α = e^g per token.
///
///     S_t = α_t (I − β_t k_t k_tᵀ) S_{t−1} + β_t k_t v_tᵀ ,   o_t = scale · S_tᵀ q_t
///
/// Reference: Yang, Kautz, Hatamizadeh,
/// [*Gated delta networks: improving Mamba2 with delta rule*](https://arxiv.org/abs/2412.06464)
/// (2024).
///
/// - Parameters:
///   - queries: `[b, t, h, k]`
///   - keys: `[b, t, h, k]`
///   - values: `[b, t, hv, v]`
///   - decay: g = ln α [b, t, hv], at most 0.
///   - beta: β [b, t, hv], from 0 to 1, or to 2 for transitions with negative eigenvalues.
///   - scale: the factor of the queries; nil is 1/√k.
///   - normalizesQueriesAndKeys: whether queries and keys are normalised to unit vectors first.
///   - initialState: `[n, hv, k, v]`; nil is zero.
///   - cumulativeLengths: `int32 [n + 1]`, for packed sequences.
///   - kernel: the name of the kernel to run; nil for the one with the lowest estimate.
/// - Throws: ``AttentionError``, as the operator does.
public func gatedDeltaNet(
  queries: Tensor, keys: Tensor, values: Tensor, decay: Tensor, beta: Tensor,
  scale: Double? = nil, normalizesQueriesAndKeys: Bool = true, initialState: Tensor? = nil,
  cumulativeLengths: Tensor? = nil, kernel: String? = nil
) throws -> LinearAttentionResult {
  try linearAttention(
    queries: queries, keys: keys, values: values, decay: decay, update: .delta(beta: beta),
    scale: scale, normalizesQueriesAndKeys: normalizesQueriesAndKeys, initialState: initialState,
    cumulativeLengths: cumulativeLengths, kernel: kernel)
}
