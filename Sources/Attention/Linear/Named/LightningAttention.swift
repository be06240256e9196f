import AttentionTensors

/// Lightning attention: linear attention whose heads decay at fixed rates that differ by layer,
///
///     S_t = e^(−s) S_{t−1} + k_t v_tᵀ ,   o_t = scale · S_tᵀ q_t ,
///     s = 8j/H · (1 − layer/layers)   for head j of H
///
/// so that the first head does not decay, and later layers decay less.
///
/// Reference: Qin, Sun, Li, Shen, Sun, Zhong,
/// [*Lightning Attention-2*](https://arxiv.org/abs/2401.04658) (2024).
///
/// - Parameters:
///   - queries: `[b, t, h, k]`
///   - keys: `[b, t, h, k]`
///   - values: `[b, t, hv, v]`; h divides hv.
///   - layer: the layer's index, from 0 to `layers` − 1.
///   - layers: the number of layers of the model.
///   - scale: the factor of the queries; nil is 1/√k.
///   - initialState: `[n, hv, k, v]`; nil is zero.
///   - cumulativeLengths: `int32 [n + 1]` for packed sequences.
///   - kernel: the name of the kernel to run; nil for the one with the lowest estimate.
/// - Throws: ``AttentionError`` naming the invalid argument.
public func lightningAttention(
  queries: Tensor, keys: Tensor, values: Tensor, layer: Int, layers: Int, scale: Double? = nil,
  initialState: Tensor? = nil, cumulativeLengths: Tensor? = nil, kernel: String? = nil
) throws -> LinearAttentionResult {
  let heads = try NamedRows(keys: keys, values: values).heads
  guard layers > 0 else {
    throw AttentionError.invalidArgument("layers", was: "\(layers)", mustBe: "at least 1")
  }
  guard (0..<layers).contains(layer) else {
    throw AttentionError.invalidArgument(
      "layer", was: "\(layer)", mustBe: "from 0 to \(layers - 1)")
  }
  let steepest = 8.0
  let share = 1 - Double(layer) / Double(layers)
  return try linearAttention(
    queries: queries, keys: keys, values: values,
    decay: Tensor((0..<heads).map { Float(-steepest * Double($0) / Double(heads) * share) })
      .moved(to: keys.device),
    scale: scale, initialState: initialState, cumulativeLengths: cumulativeLengths, kernel: kernel)
}
