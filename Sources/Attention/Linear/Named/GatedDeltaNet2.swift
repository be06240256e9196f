import AttentionTensors

/// Gated DeltaNet-2: the delta rule with separate gates for erasing and writing, one number per channel.
///
///     S_t = (I − k_t (b_t ⊙ k_t)ᵀ) diag(α_t) S_{t−1} + k_t (w_t ⊙ v_t)ᵀ ,   o_t = scale · S_tᵀ q_t
///
/// If all elements of b and w are β, it is Kimi Delta Attention.
///
/// Reference: Hatamizadeh, Choi, Kautz,
/// [*Gated DeltaNet-2: decoupling erase and write in linear attention*](https://arxiv.org/abs/2605.22791)
/// (2026).
///
/// - Parameters:
///   - queries: `[b, t, h, k]`
///   - keys: `[b, t, h, k]`
///   - values: `[b, t, hv, v]`
///   - decay: g = ln α [b, t, hv, k], at most 0.
///   - eraseGate: `b` [b, t, hv, k], from 0 to 1.
///   - writeGate: w [b, t, hv, v], from 0 to 1.
///   - scale: the factor of the queries; nil is 1/√k.
///   - normalizesQueriesAndKeys: whether queries and keys are normalised to unit vectors first.
///   - initialState: `[n, hv, k, v]`; nil is zero.
///   - cumulativeLengths: `int32 [n + 1]`, for packed sequences.
///   - kernel: the name of the kernel to run; nil for the one with the lowest estimate.
/// - Throws: ``AttentionError``, as the operator does, and for gates of the wrong shape.
public func gatedDeltaNet2(
  queries: Tensor, keys: Tensor, values: Tensor, decay: Tensor, eraseGate: Tensor,
  writeGate: Tensor, scale: Double? = nil, normalizesQueriesAndKeys: Bool = true,
  initialState: Tensor? = nil, cumulativeLengths: Tensor? = nil, kernel: String? = nil
) throws -> LinearAttentionResult {
  let rows = try NamedRows(keys: keys, values: values)
  let queries = try queries.checked("queries", keys.shape)
  let erase = try eraseGate.checked("eraseGate", rows.keys)
  let write = try writeGate.checked("writeGate", rows.values)
  let unit = normalizesQueriesAndKeys ? try keys.unitVectors() : keys
  return try linearAttention(
    queries: normalizesQueriesAndKeys ? queries.unitVectors() : queries, keys: unit,
    values: values.gated(by: write).cast(to: values.dtype), decay: decay,
    update: .generalizedDelta(
      readKeys: unit.repeatedHeads(to: rows.heads).gated(by: erase)),
    scale: scale, initialState: initialState, cumulativeLengths: cumulativeLengths,
    kernel: kernel)
}
