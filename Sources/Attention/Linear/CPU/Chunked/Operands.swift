/// The memory of a matrix packed in panels, the right operand of the `product` loop: element (i, j)
/// is at (j/T)·rows·T + i·T + j mod T, where T is the number of columns of a panel. Elements beyond
/// the last column are never read.
///
/// As an operand of bfloat16 products it holds pairs of rows instead, in half the memory.
struct Panels {
  let rows: Int
  let columns: Int
  /// Columns of a panel.
  let tile: Int
  let base: UnsafeMutablePointer<Float>

  /// Floats between adjacent panels.
  var stride: Int { rows * tile }
  /// Floats in all.
  var size: Int { (columns + tile - 1) / tile * stride }
  /// Floats as an operand of pairs.
  var pairSize: Int { (columns + tile - 1) / tile * pairStride / 2 }

  /// The memory as bfloat16 numbers.
  var pairs: UnsafeMutablePointer<UInt16> {
    UnsafeMutableRawPointer(base).assumingMemoryBound(to: UInt16.self)
  }
  /// Elements between adjacent panels of pairs.
  var pairStride: Int { (rows + rows % 2) * tile }

  /// The start of each panel, its first column and its number of columns.
  var panels: [(base: UnsafeMutablePointer<Float>, firstColumn: Int, width: Int)] {
    Swift.stride(from: 0, to: columns, by: tile).map {
      (base + $0 * rows, $0, min(tile, columns - $0))
    }
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
}

/// The memory of a product: element (i, j) is at (j/T)·`panel` + i·`row` + j mod T.
struct ProductTarget {
  let base: UnsafeMutablePointer<Float>
  let row: Int
  /// Nil if rows are contiguous.
  let panel: Int?

  /// Rows that lie `stride` floats apart.
  static func rows(_ base: UnsafeMutablePointer<Float>, _ stride: Int) -> ProductTarget {
    ProductTarget(base: base, row: stride, panel: nil)
  }

  /// A packed matrix of float32 numbers.
  static func panels(_ panels: Panels) -> ProductTarget {
    ProductTarget(base: panels.base, row: panels.tile, panel: panels.stride)
  }
}
