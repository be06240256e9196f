import AttentionTensors

/// RWKV-7: a decay per channel, and a low-rank term that removes a fraction of what one key reads, in the
/// notation of its time mixing
///
///     S_t = diag(w_t) S_{t−1} − (a_t ⊙ κ̂_t) (S_{t−1}ᵀ κ̂_t)ᵀ + k_t v_tᵀ ,   o_t = S_tᵀ r_t
///
/// where κ̂ reads the state before the decay. The layer adds the bonus of a token for itself.
///
/// Reference: Peng et al.,
/// [*RWKV-7 "Goose" with expressive dynamic state evolution*](https://arxiv.org/abs/2503.14456)
/// (2025).
///
/// - Parameters:
///   - receptances: r [b, t, h, k], not scaled.
///   - keys: `k` [b, t, h, k], the replacement keys.
///   - values: v [b, t, hv, v]
///   - decay: ln w [b, t, hv, k], at most 0.
///   - removalKeys: κ̂ [b, t, hv, k], unit vectors.
///   - learningRates: a [b, t, hv, k], from 0 to 1.
///   - initialState: `[n, hv, k, v]`; nil is zero.
///   - cumulativeLengths: `int32 [n + 1]`, for packed sequences.
///   - kernel: the name of the kernel to run; nil for the one with the lowest estimate.
/// - Throws: ``AttentionError``, as the operator does, and for rows of the wrong shape.
public func rwkv7(
  receptances: Tensor, keys: Tensor, values: Tensor, decay: Tensor, removalKeys: Tensor,
  learningRates: Tensor, initialState: Tensor? = nil, cumulativeLengths: Tensor? = nil,
  kernel: String? = nil
) throws -> LinearAttentionResult {
  let rows = try NamedRows(keys: keys, values: values)
  let removal = try removalKeys.checked("removalKeys", rows.keys)
  let rates = try learningRates.checked("learningRates", rows.keys)
  return try naming(["queries": "receptances"]) {
    try linearAttention(
      queries: receptances, keys: keys, values: values, decay: decay,
      update: .lowRank(a: -removal, b: removal.gated(by: rates)), scale: 1,
      initialState: initialState, cumulativeLengths: cumulativeLengths, kernel: kernel)
  }
}
