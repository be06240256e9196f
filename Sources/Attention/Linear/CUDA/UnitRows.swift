import AttentionCUDA
import AttentionTensors

/// Normalised rows, by `linear/unit_rows.cu`.
struct UnitRows {
  /// [b, t, h, k], k a multiple of 32 and at most 256.
  private let rows: Tensor
  private static let warps = 8

  init(_ rows: Tensor) { self.rows = rows }

  func run(_ queue: DeviceQueue) throws -> Tensor {
    let result = try Tensor.onDevice(rows.shape, dtype: rows.dtype, device: rows.device)
    let count = rows.shape[0] * rows.shape[1] * rows.shape[2]
    try queue.launch(
      "linear/unit_rows", blocks: count.pieces(of: Self.warps),
      threads: Self.warps * LinearTile.threadsPerWarp,
      Parameters(
        source: DeviceTokenRows(rows), target: DeviceTokenRows(result), rows: Int64(count),
        length: Int64(rows.shape[1]), heads: Int32(rows.shape[2]), width: Int32(rows.shape[3]),
        epsilon: Float(LinearArguments.normalizationEpsilon)))
    return result
  }

  /// As declared in the kernel.
  private struct Parameters: BitwiseCopyable {
    var source: DeviceTokenRows
    var target: DeviceTokenRows
    var rows: Int64
    var length: Int64
    var heads: Int32
    var width: Int32
    var epsilon: Float
    var unused: Int32 = 0
  }
}
