import AttentionCUDA
import AttentionCUDAKernels
import AttentionTensors

/// Normalised rows, by `linear/unit_rows.cu`.
struct UnitRows {
  /// [b, t, h, k], k a multiple of 32 and at most 256.
  private let rows: Tensor

  init(_ rows: Tensor) { self.rows = rows }

  func run(_ queue: DeviceQueue) throws -> Tensor {
    let result = try Tensor.onDevice(rows.shape, dtype: rows.dtype, device: rows.device)
    let count = rows.shape[0] * rows.shape[1] * rows.shape[2]
    try queue.launch(
      "linear/unit_rows", blocks: count.pieces(of: linear_unit_warps),
      threads: linear_unit_warps * warp_threads,
      LinearUnitRowsParameters(
        source: LinearRows(rows), target: LinearRows(result), rows: Int64(count),
        length: Int64(rows.shape[1]), heads: Int32(rows.shape[2]), width: Int32(rows.shape[3]),
        epsilon: Float(LinearArguments.normalizationEpsilon)))
    return result
  }
}
