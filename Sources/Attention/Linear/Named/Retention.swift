import AttentionCLibrary
import AttentionTensors

/// Retention: linear attention whose heads decay at fixed rates,
///
///     S_t = γ S_{t−1} + k_t v_tᵀ ,   o_t = scale · S_tᵀ q_t ,   γ = 1 − 2^(−5 − j) for head j
///
/// Reference: Sun et al., [*Retentive Network*](https://arxiv.org/abs/2307.08621) (2023).
///
/// - Parameters:
///   - queries: `[b, t, h, k]`, rotated by their positions if the model does so.
///   - keys: `[b, t, h, k]`, likewise.
///   - values: `[b, t, hv, v]`; h divides hv.
///   - decay: ln γ [hv]; nil for the rates above.
///   - scale: the factor of the queries; nil is 1/√k.
///   - initialState: `[n, hv, k, v]`; nil is zero.
///   - cumulativeLengths: `int32 [n + 1]` for packed sequences.
///   - kernel: the name of the kernel to run; nil for the one with the lowest estimate.
/// - Throws: ``AttentionError`` naming the invalid argument.
public func retention(
  queries: Tensor, keys: Tensor, values: Tensor, decay: Tensor? = nil, scale: Double? = nil,
  initialState: Tensor? = nil, cumulativeLengths: Tensor? = nil, kernel: String? = nil
) throws -> LinearAttentionResult {
  let rows = try NamedRows(keys: keys, values: values)
  let decay = try decay ?? retentionDecay(heads: rows.heads).moved(to: keys.device)
  return try linearAttention(
    queries: queries, keys: keys, values: values, decay: decay.checked("decay", [rows.heads]),
    scale: scale,
    initialState: initialState, cumulativeLengths: cumulativeLengths, kernel: kernel)
}

/// The decays of retention's heads, ln(1 − 2^(−5 − j)): float32 [heads].
///
/// - Throws: `TensorError` if the tensor cannot be created.
public func retentionDecay(heads: Int) throws -> Tensor {
  let slowestOfFirst = 5.0
  return try Tensor((0..<heads).map { Float(log1p(-exp2(-slowestOfFirst - Double($0)))) })
}
