import AttentionCUDA
import AttentionCUDAKernels
import AttentionTensors

/// float32 rows as Hopper's kernels multiply them: each number taken apart into two of float16, its
/// planes, rows divided by powers of two before, their units. See `tile/planes.cuh`.
struct FlashPlanes {
  /// [batch, length, heads × planes, dimension], float16.
  let rows: DeviceRows
  /// The address of the units, [batch, heads, length].
  let units: UInt64

  /// Rows of one block.
  private static let warps = 8

  /// Queues taking them apart.
  ///
  /// - Parameters:
  ///   - source: float32 rows of 64 or 128 numbers.
  ///   - operands: what holds the result until it is read.
  init(_ source: DeviceRows, _ operands: FlashOperands) throws {
    let shape = source.tensor.shape
    let (batch, length, heads, dimension) = (shape[0], shape[1], shape[2], shape[3])
    let count = batch * length * heads
    rows = try DeviceRows(
      fresh: [batch, length, heads * plane_count, dimension], paddedTo: dimension, .float16,
      on: source.tensor.device)
    units = try operands.fresh(max(1, count) * DType.float32.size, "units of rows")
    let place = operands.place(rows)
    guard count > 0 else { return }
    try operands.queue.launch(
      "attention/planes", definitions: ["DIMENSION=\(dimension)"],
      grid: (count.pieces(of: Self.warps), 1, 1), threads: Self.warps * warp_threads,
      AttentionPlanesParameters(
        source: operands.place(source), planes: place.base, units: units, count: Int64(count),
        length: Int32(length), heads: Int32(heads)))
  }
}
