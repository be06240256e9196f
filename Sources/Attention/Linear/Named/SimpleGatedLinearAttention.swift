import AttentionTensors

/// Simple gated linear attention: linear attention with one decay a head and token,
///
///     S_t = e^(g_t) S_{t−1} + k_t v_tᵀ ,   o_t = scale · S_tᵀ q_t
///
/// Reference: Yang, Wang, Shen, Panda, Kim,
/// [*Gated linear attention transformers*](https://arxiv.org/abs/2312.06635) (2023), with the gate of
/// a whole head; Mamba-2 by its own names is ``stateSpaceDuality(inputs:steps:rates:inputWeights:outputWeights:skip:initialState:cumulativeLengths:kernel:)``.
///
/// - Parameters:
///   - queries: `[b, t, h, k]`
///   - keys: `[b, t, h, k]`
///   - values: `[b, t, hv, v]`; h divides hv.
///   - decay: g [b, t, hv], a natural logarithm, at most 0.
///   - scale: multiplies the queries; nil is 1/√k.
///   - initialState: `[n, hv, k, v]`; nil is zero.
///   - cumulativeLengths: `int32 [n + 1]` for packed sequences.
///   - kernel: the name of the kernel to run; nil takes the one with the lowest estimate.
/// - Throws: ``AttentionError`` naming the argument that is wrong.
public func simpleGatedLinearAttention(
  queries: Tensor, keys: Tensor, values: Tensor, decay: Tensor, scale: Double? = nil,
  initialState: Tensor? = nil, cumulativeLengths: Tensor? = nil, kernel: String? = nil
) throws -> LinearAttentionResult {
  let rows = try NamedRows(keys: keys, values: values)
  return try linearAttention(
    queries: queries, keys: keys, values: values, decay: decay.checked("decay", rows.tokens),
    scale: scale,
    initialState: initialState, cumulativeLengths: cumulativeLengths, kernel: kernel)
}
