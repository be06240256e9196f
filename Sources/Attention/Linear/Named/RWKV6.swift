import AttentionTensors

/// RWKV-6's time mixing: the receptance reads the state before the token, and the token's own pair
/// with a bonus u,
///
///     o_t = (S_{t−1} + diag(u) k_t v_tᵀ)ᵀ r_t ,   S_t = diag(e^(g_t)) S_{t−1} + k_t v_tᵀ
///
/// Reference: Peng et al., [*Eagle and Finch*](https://arxiv.org/abs/2404.05892) (2024), where
/// g = −exp(w).
///
/// - Parameters:
///   - receptances: r [b, t, h, k]
///   - keys: `[b, t, h, k]`
///   - values: `[b, t, hv, v]`; h divides hv.
///   - decay: g [b, t, hv, k], a natural logarithm, at most 0.
///   - bonus: u [hv, k]
///   - scale: the factor of the receptances.
///   - initialState: `[n, hv, k, v]`; nil is zero.
///   - cumulativeLengths: `int32 [n + 1]` for packed sequences.
///   - kernel: the name of the kernel to run; nil for the one with the lowest estimate.
/// - Throws: ``AttentionError`` naming the invalid argument.
public func rwkv6(
  receptances: Tensor, keys: Tensor, values: Tensor, decay: Tensor, bonus: Tensor,
  scale: Double = 1, initialState: Tensor? = nil, cumulativeLengths: Tensor? = nil,
  kernel: String? = nil
) throws -> LinearAttentionResult {
  let rows = try NamedRows(keys: keys, values: values)
  return try naming(["queries": "receptances"]) {
    try linearAttention(
      queries: receptances, keys: keys, values: values, decay: decay.checked("decay", rows.keys),
      update: .additiveBefore(bonus: bonus), scale: scale, initialState: initialState,
      cumulativeLengths: cumulativeLengths, kernel: kernel)
  }
}
