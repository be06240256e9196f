/// Room for a matrix packed in panels, the right operand of the `product` loop: element (i, j) lies
/// at (j/T)·rows·T + i·T + j mod T, T being the columns of a panel. Places beyond the last column
/// hold numbers that nobody reads.
///
/// As an operand of bfloat16 products it holds pairs of rows instead, in half the memory.
struct Panels {
  let rows: Int
  let columns: Int
  /// Columns of a panel.
  let tile: Int
  let base: UnsafeMutablePointer<Float>

  /// Floats between neighbouring panels.
  var stride: Int { rows * tile }
  /// Floats in all.
  var size: Int { Self.size(rows: rows, columns: columns, tile: tile) }

  /// The memory as bfloat16 numbers.
  var pairs: UnsafeMutablePointer<UInt16> {
    UnsafeMutableRawPointer(base).assumingMemoryBound(to: UInt16.self)
  }
  /// Numbers between neighbouring panels of pairs.
  var pairStride: Int { (rows + rows % 2) * tile }

  /// The same memory for a matrix of fewer rows.
  func resized(rows: Int) -> Panels {
    Panels(rows: rows, columns: columns, tile: tile, base: base)
  }

  /// Where each panel begins, and how many columns it has.
  var panels: [(base: UnsafeMutablePointer<Float>, firstColumn: Int, width: Int)] {
    Swift.stride(from: 0, to: columns, by: tile).map {
      (base + $0 * rows, $0, min(tile, columns - $0))
    }
  }

  static func size(rows: Int, columns: Int, tile: Int) -> Int {
    (columns + tile - 1) / tile * tile * rows
  }

  /// Floats of the room for an operand of pairs.
  static func pairSize(rows: Int, columns: Int, tile: Int) -> Int {
    size(rows: rows + rows % 2, columns: columns, tile: tile) / 2
  }
}

/// The left operand of a product: element (i, p) lies at i·`row` + p·`column` floats, or elements
/// (i, 2p) and (i, 2p + 1) together at i·`row` + p·`column` bfloat16 numbers.
struct LeftOperand {
  enum Numbers {
    case floats(UnsafePointer<Float>)
    case pairs(UnsafePointer<UInt16>)
  }

  let numbers: Numbers
  let row: Int
  let column: Int

  /// A matrix whose rows lie `stride` floats apart.
  static func rows(_ base: UnsafePointer<Float>, _ stride: Int) -> LeftOperand {
    LeftOperand(numbers: .floats(base), row: stride, column: 1)
  }

  /// The transpose of such a matrix.
  static func transposed(_ base: UnsafePointer<Float>, _ stride: Int) -> LeftOperand {
    LeftOperand(numbers: .floats(base), row: 1, column: stride)
  }

  /// The operand without its first rows.
  func dropping(rows: Int) -> LeftOperand {
    let numbers: Numbers =
      switch numbers {
      case .floats(let base): .floats(base + rows * row)
      case .pairs(let base): .pairs(base + rows * row)
      }
    return LeftOperand(numbers: numbers, row: row, column: column)
  }
}
