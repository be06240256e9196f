import AttentionCUDA
import AttentionCUDAKernels

/// How kernels that work on rows spread them over threads: a warp a row where rows are short, so that
/// a block has several, and a block a row where they are long. As `Team` in `tile/team.cuh` has it.
struct RowTeams {
  /// Threads a block.
  static let threads = 256
  /// Rows up to this long are a warp's: eight turns of four numbers a thread.
  private static let longestOfWarp = 1024
  /// The shared memory by which the warps of a block agree on a number.
  static let sharedBytes = threads / warp_threads * float_bytes

  /// Numbers in a row.
  let length: Int
  /// The rows that there are.
  let rows: Int

  init(rows: Int, length: Int) {
    self.rows = rows
    self.length = length
  }

  /// Those of a tensor's last axis.
  init(of tensor: Tensor) {
    self.init(
      rows: tensor.shape.dropLast().reduce(1, *), length: tensor.shape[tensor.rank - 1])
  }

  /// Threads a row.
  var rowThreads: Int { length <= Self.longestOfWarp ? warp_threads : Self.threads }

  /// Rows that a block works on at the same time.
  var rowsPerBlock: Int { Self.threads / rowThreads }

  /// Blocks that give each row its team.
  var blocks: Int { rows.pieces(of: rowsPerBlock) }

  /// Queues a kernel with a team for each row. `tensors` are those whose addresses the parameters have.
  func launch(
    _ kernel: String, _ element: DType, on device: Device, keeping tensors: [Tensor?],
    _ parameters: some BitwiseCopyable
  ) throws {
    guard rows > 0, length > 0 else { return }
    try withExtendedLifetime(tensors) {
      try DeviceQueue.shared(for: device).launch(
        kernel, element: element, blocks: blocks, threads: Self.threads,
        sharedBytes: Self.sharedBytes, parameters)
    }
  }
}
