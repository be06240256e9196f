import AttentionCPUKernels

/// One or many float32 matrix products of the same extents and strides, spread over the threads.
///
/// The right operand is packed into panels once. Then the result is computed in blocks; the depth is split
/// into pieces, so that the panels in use stay in the nearest caches.
struct MatrixProduct {
  let rows: Int
  let columns: Int
  let depth: Int
  let leftStrides: (row: Int, column: Int)
  let rightStrides: (row: Int, column: Int)

  /// A block of the result in rows and panels of columns, and the depth of a piece: one panel's piece
  /// (256 × 32 numbers) fits in the first-level cache, a block's left rows in the second.
  private static let blockRows = 64
  private static let blockPanels = 4
  private static let pieceDepth = 256
  /// Below this many rows, packing costs more than it saves.
  private static let packedRows = 4
  /// A part of the right operand that several rows read one after the other: half of a first-level cache.
  private static let rowwisePartElements = 4096

  /// Computes `matrices` products; matrix i starts at offset i of each operand and at i·rows·columns in the
  /// row-major result.
  func run(
    _ matrices: Int, _ left: UnsafePointer<Float>, _ leftOffsets: [Int],
    _ right: UnsafePointer<Float>, _ rightOffsets: [Int], _ result: UnsafeMutablePointer<Float>
  ) throws {
    guard depth > 0 else {
      result.update(repeating: 0, count: matrices * rows * columns)
      return
    }
    if rows < Self.packedRows || RowByRow.isOn {
      runRows(matrices, left, leftOffsets, right, rightOffsets, result)
    } else {
      try runPacked(matrices, left, leftOffsets, right, rightOffsets, result)
    }
  }

  /// Row by row, reading the right operand in place: a strip of it for all rows, while it is in the cache.
  private func runRows(
    _ matrices: Int, _ left: UnsafePointer<Float>, _ leftOffsets: [Int],
    _ right: UnsafePointer<Float>, _ rightOffsets: [Int], _ result: UnsafeMutablePointer<Float>
  ) {
    let kernels = InstructionSet.current.kernels
    let width = max(16, 32_768 / depth)
    let strips = columns.pieces(of: width)
    // Several rows read a part of the strip one after the other, while it is in the first-level cache. Where columns
    // are contiguous, a result is a dot product of its own, so no bit depends on the parts.
    let part =
      rows > 1 && rightStrides.row == 1 ? max(1, Self.rowwisePartElements / depth) : width
    Threads.forEach(matrices * strips) { task in
      let (matrix, first) = (task / strips, task % strips * width)
      let end = min(columns, first + width)
      withUnsafeTemporaryAllocation(of: Float.self, capacity: depth) { row in
        for column in stride(from: first, to: end, by: part) {
          for i in 0..<rows {
            var x = left + leftOffsets[matrix] + i * leftStrides.row
            if leftStrides.column != 1 {
              for p in 0..<depth { row[p] = x[p * leftStrides.column] }
              x = UnsafePointer(row.baseAddress!)
            }
            kernels.vector_matrix(
              min(part, end - column), depth, x,
              right + rightOffsets[matrix] + column * rightStrides.column, rightStrides.row,
              rightStrides.column, result + (matrix * rows + i) * columns + column)
          }
        }
      }
    }
  }

  private func runPacked(
    _ matrices: Int, _ left: UnsafePointer<Float>, _ leftOffsets: [Int],
    _ right: UnsafePointer<Float>, _ rightOffsets: [Int], _ result: UnsafeMutablePointer<Float>
  ) throws {
    let kernels = InstructionSet.current.kernels
    let tile = kernels.tile_columns
    let panels = columns.pieces(of: tile)
    let panelSize = depth * tile
    // A right operand that is broadcast over the matrices is packed once.
    let distinct = Set(rightOffsets).count == 1 ? 1 : matrices
    let packed = try Scratch(floats: distinct * panels * panelSize)
    Threads.forEach(distinct * panels) { task in
      let (matrix, panel) = (task / panels, task % panels)
      kernels.pack(
        depth, min(tile, columns - panel * tile),
        right + rightOffsets[matrix] + panel * tile * rightStrides.column, rightStrides.row,
        rightStrides.column, packed.base + task * panelSize, panelSize)
    }
    let rowBlocks = rows.pieces(of: Self.blockRows)
    let panelBlocks = panels.pieces(of: Self.blockPanels)
    Threads.forEach(matrices * rowBlocks * panelBlocks) { task in
      let matrix = task / (rowBlocks * panelBlocks)
      let firstRow = task / panelBlocks % rowBlocks * Self.blockRows
      let firstPanel = task % panelBlocks * Self.blockPanels
      let firstColumn = firstPanel * tile
      let source = packed.base + ((distinct == 1 ? 0 : matrix) * panels + firstPanel) * panelSize
      for p in stride(from: 0, to: depth, by: Self.pieceDepth) {
        kernels.product(
          min(Self.blockRows, rows - firstRow),
          min(Self.blockPanels * tile, columns - firstColumn), min(Self.pieceDepth, depth - p),
          left + leftOffsets[matrix] + firstRow * leftStrides.row + p * leftStrides.column,
          leftStrides.row, leftStrides.column, source + p * tile, panelSize,
          result + (matrix * rows + firstRow) * columns + firstColumn, columns, tile,
          p == 0 ? 0 : 1)
      }
    }
  }
}
