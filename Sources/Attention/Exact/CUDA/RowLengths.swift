import CUDA
import Tensors

/// Cosine similarity's normalisation of queries and keys on a device, by `attention/lengths.cu`.
struct RowLengths {
  /// Rows of one block.
  private static let warps = 8

  private let groups: Int?
  private let dimension: Int
  private let copies: DeviceCopies
  private let module: KernelModule?

  init(_ inputs: ExactInputs, _ copies: DeviceCopies) throws {
    groups = inputs.normalizedGroups
    dimension = inputs.problem.keyDimension
    self.copies = copies
    module =
      groups == nil
      ? nil
      : try copies.stream.device.module(
        KernelVariant(
          source: "attention/lengths.cu", function: "row_lengths",
          definitions: [FlashTile.definition(of: inputs.dtype)], sharedBytes: 0))
  }

  /// With one slice a row, writes the reciprocals of the rows' lengths to fresh memory and returns its
  /// address; with several divides each slice by its length in place. 0 where nothing is written.
  func divide(_ rows: DeviceRows, _ operands: FlashOperands) throws -> UInt64 {
    guard let module, let groups else { return 0 }
    let count = rows.memory.byteCount / (rows.pitch * rows.dtype.size)
    guard count > 0 else { return 0 }
    let reciprocals =
      groups == 1 ? try operands.fresh(count * DType.float32.size, "reciprocal lengths") : 0
    try module.launch(
      grid: (count.rounded(up: Self.warps) / Self.warps, 1, 1),
      threads: Self.warps * FlashTile.threadsPerWarp, sharedBytes: 0,
      Parameters(
        rows: rows.memory.address, reciprocals: reciprocals, count: Int64(count),
        pitch: Int32(rows.pitch), dimension: Int32(dimension), groups: Int32(groups),
        shortest: Similarity.shortestSlice),
      in: copies.stream)
    return reciprocals
  }

  /// The kernel's parameters, field by field as it declares them.
  private struct Parameters: BitwiseCopyable {
    var rows: UInt64
    var reciprocals: UInt64
    var count: Int64
    var pitch: Int32
    var dimension: Int32
    var groups: Int32
    var shortest: Float
  }
}
