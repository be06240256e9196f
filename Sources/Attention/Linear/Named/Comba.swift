import AttentionTensors

/// Comba: a scalar decay plus a low-rank term, with feedback from the state and to the output.
///
///     S_t = (α_t I − b β_t k_t k_tᵀ) S_{t−1} + β_t k_t v_tᵀ ,   o_t = scale · S_tᵀ (q_t − d k_t)
///
/// k reads the state before its decay. The feedback b weakens erasing relative to writing; the correction d
/// subtracts from the output what the key itself reads.
///
/// Reference: Hu, Pan, Du, Lan, Tang, Wen, Liang, Sun,
/// [*Comba: improving bilinear RNNs with closed-loop control*](https://arxiv.org/abs/2506.02475)
/// (2025).
///
/// - Parameters:
///   - queries: `[b, t, h, k]`
///   - keys: `[b, t, h, k]`
///   - values: `[b, t, hv, v]`
///   - decay: ln α [b, t, hv], at most 0.
///   - beta: β [b, t, hv], from 0 to 1.
///   - feedback: `b` [hv], from 0 to 1.
///   - correction: d [h].
///   - scale: the factor of the queries; nil is 1/√k.
///   - normalizesQueriesAndKeys: whether queries and keys are normalised to unit vectors first.
///   - initialState: `[n, hv, k, v]`; nil is zero.
///   - cumulativeLengths: `int32 [n + 1]`, for packed sequences.
///   - kernel: the name of the kernel to run; nil for the one with the lowest estimate.
/// - Throws: ``AttentionError``, as the operator does, and for gates of the wrong shape.
public func comba(
  queries: Tensor, keys: Tensor, values: Tensor, decay: Tensor, beta: Tensor, feedback: Tensor,
  correction: Tensor, scale: Double? = nil, normalizesQueriesAndKeys: Bool = true,
  initialState: Tensor? = nil, cumulativeLengths: Tensor? = nil, kernel: String? = nil
) throws -> LinearAttentionResult {
  let rows = try NamedRows(keys: keys, values: values)
  let queries = try queries.checked("queries", keys.shape)
  let write = try beta.checked("beta", rows.tokens).unsqueezed(3)
  let weaken = try feedback.checked("feedback", [rows.heads]).unsqueezed(1)
  let correct = try correction.checked("correction", [keys.shape[2]]).unsqueezed(1)
  let unit = normalizesQueriesAndKeys ? try keys.unitVectors() : keys
  let own = normalizesQueriesAndKeys ? try queries.unitVectors() : queries
  let read = try unit.repeatedHeads(to: rows.heads)
  let corrected = try own.widened() - unit.gated(by: correct)
  return try linearAttention(
    queries: corrected.cast(to: queries.dtype), keys: unit,
    values: values.gated(by: write).cast(to: values.dtype), decay: decay,
    update: .lowRank(a: read, b: read.gated(by: write).gated(by: -weaken)),
    scale: scale, initialState: initialState, cumulativeLengths: cumulativeLengths,
    kernel: kernel)
}
