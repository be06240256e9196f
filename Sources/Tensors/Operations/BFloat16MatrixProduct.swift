import AttentionCPUKernels

/// Matrix products of bfloat16 operands by dot products of pairs, accumulated in float32 and rounded once,
/// for processors with such instructions.
///
/// Blocks are those of ``MatrixProduct``; the left rows of a block are copied piece by piece, so that they
/// are contiguous.
struct BFloat16MatrixProduct {
  /// Below this many rows, packing costs more than it saves.
  static let leastRows = 4

  private static let blockRows = 64
  private static let blockPanels = 16
  private static let pieceDepth = 512

  private let left: Tensor
  private let right: Tensor
  private let matrices: Int
  private let leftOffsets: [Int]
  private let rightOffsets: [Int]
  private let kernels = InstructionSet.current.kernels

  private var rows: Int { left.shape[left.rank - 2] }
  private var depth: Int { left.shape[left.rank - 1] }
  private var columns: Int { right.shape[right.rank - 1] }
  /// The depth rounded up to whole pairs.
  private var paddedDepth: Int { (depth + 1) / 2 * 2 }

  /// - Parameters:
  ///   - left: `[..., m, k]`, broadcast over all matrices.
  ///   - right: `[..., k, n]`, broadcast over all matrices.
  ///   - leftOffsets: the offset of each of the `matrices` in the left operand.
  init(
    _ left: Tensor, _ right: Tensor, _ matrices: Int, _ leftOffsets: [Int], _ rightOffsets: [Int]
  ) throws {
    self.matrices = matrices
    // Pairs must be adjacent along the depth on the left, and along either axis on the right.
    if left.strides[left.rank - 1] == 1 || left.shape[left.rank - 1] == 1 {
      self.left = left
      self.leftOffsets = leftOffsets
    } else {
      self.left = try left.contiguous()
      let size = left.shape[left.rank - 2] * left.shape[left.rank - 1]
      self.leftOffsets = (0..<matrices).map { $0 * size }
    }
    if right.strides[right.rank - 1] == 1 || right.strides[right.rank - 2] == 1 {
      self.right = right
      self.rightOffsets = rightOffsets
    } else {
      self.right = try right.contiguous()
      let size = right.shape[right.rank - 2] * right.shape[right.rank - 1]
      self.rightOffsets = (0..<matrices).map { $0 * size }
    }
  }

  func run(shape: Shape) throws -> Tensor {
    try Tensor.filling(shape, as: BFloat16.self) { result in
      try left.withUnsafePointer(to: BFloat16.self) { x in
        try right.withUnsafePointer(to: BFloat16.self) { y in
          try run(
            UnsafeRawPointer(x).assumingMemoryBound(to: UInt16.self),
            UnsafeRawPointer(y).assumingMemoryBound(to: UInt16.self),
            UnsafeMutableRawPointer(result).assumingMemoryBound(to: UInt16.self))
        }
      }
    }
  }

  private func run(
    _ x: UnsafePointer<UInt16>, _ y: UnsafePointer<UInt16>, _ result: UnsafeMutablePointer<UInt16>
  ) throws {
    let tile = kernels.tile_columns
    let panels = columns.pieces(of: tile)
    let panelSize = paddedDepth * tile
    let distinct = Set(rightOffsets).count == 1 ? 1 : matrices
    let memory = try Scratch(floats: (distinct * panels * panelSize + 1) / 2)
    let packed = UnsafeMutableRawPointer(memory.base).assumingMemoryBound(to: UInt16.self)
    pack(y, distinct, panels, packed)
    let rowBlocks = rows.pieces(of: Self.blockRows)
    let panelBlocks = panels.pieces(of: Self.blockPanels)
    try Threads.tryForEach(matrices * rowBlocks * panelBlocks) { task in
      let matrix = task / (rowBlocks * panelBlocks)
      let firstRow = task / panelBlocks % rowBlocks * Self.blockRows
      let firstPanel = task % panelBlocks * Self.blockPanels
      let panel = packed + ((distinct == 1 ? 0 : matrix) * panels + firstPanel) * panelSize
      try block(
        x + leftOffsets[matrix] + firstRow * left.strides[left.rank - 2],
        rows: min(Self.blockRows, rows - firstRow), panel, panelSize,
        columns: min(Self.blockPanels * tile, columns - firstPanel * tile),
        result + (matrix * rows + firstRow) * columns + firstPanel * tile)
    }
  }

  private func pack(
    _ y: UnsafePointer<UInt16>, _ distinct: Int, _ panels: Int,
    _ packed: UnsafeMutablePointer<UInt16>
  ) {
    let tile = kernels.tile_columns
    let panelSize = paddedDepth * tile
    let (rowStride, columnStride) = (
      right.strides[right.rank - 2], right.strides[right.rank - 1]
    )
    Threads.forEach(distinct * panels) { task in
      let first = task % panels * tile
      let source = y + rightOffsets[task / panels] + first * columnStride
      let count = min(tile, columns - first)
      if columnStride == 1 {
        kernels.bf16.pack_pairs_of_rows!(
          depth, count, source, rowStride, packed + task * panelSize, panelSize)
      } else {
        kernels.bf16.pack_pairs_of_columns!(
          depth, count, source, columnStride, packed + task * panelSize, panelSize)
      }
    }
  }

  /// One block of the result: `rows` by `columns`.
  private func block(
    _ x: UnsafePointer<UInt16>, rows: Int, _ panels: UnsafePointer<UInt16>, _ panelSize: Int,
    columns: Int, _ result: UnsafeMutablePointer<UInt16>
  ) throws {
    let tile = kernels.tile_columns
    let scratch = try Scratch(floats: rows * (columns + Self.pieceDepth / 2))
    let sums = scratch.base
    let piece = UnsafeMutableRawPointer(sums + rows * columns).assumingMemoryBound(to: UInt16.self)
    if depth == 0 { sums.update(repeating: 0, count: rows * columns) }
    for first in stride(from: 0, to: depth, by: Self.pieceDepth) {
      let count = min(Self.pieceDepth, depth - first)
      let padded = (count + 1) / 2 * 2
      for r in 0..<rows {
        (piece + r * padded).update(from: x + r * left.strides[left.rank - 2] + first, count: count)
        if padded > count { piece[r * padded + count] = 0 }
      }
      kernels.bf16.product!(
        rows, columns, padded, piece, padded, panels + first * tile, panelSize, sums, columns,
        tile, first == 0 ? 0 : 1)
    }
    for r in 0..<rows {
      kernels.narrow(CPU_BF16, columns, sums + r * columns, result + r * self.columns)
    }
  }
}
