import CPUKernels
import Tensors

/// Room for a float32 matrix packed in panels, the right operand of the `product` loop: element
/// (i, j) lies at (j/T)·rows·T + i·T + j mod T, T being the columns of a panel. Places beyond the
/// last column hold numbers that nobody reads.
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

  /// Where each panel begins, and how many columns it has.
  var panels: [(base: UnsafeMutablePointer<Float>, firstColumn: Int, width: Int)] {
    Swift.stride(from: 0, to: columns, by: tile).map {
      (base + $0 * rows, $0, min(tile, columns - $0))
    }
  }

  static func size(rows: Int, columns: Int, tile: Int) -> Int {
    (columns + tile - 1) / tile * tile * rows
  }
}

/// The left operand of a product: element (i, p) lies at i·`row` + p·`column`.
struct LeftOperand {
  let base: UnsafePointer<Float>
  let row: Int
  let column: Int

  /// A matrix whose rows lie `stride` floats apart.
  static func rows(_ base: UnsafePointer<Float>, _ stride: Int) -> LeftOperand {
    LeftOperand(base: base, row: stride, column: 1)
  }

  /// The transpose of such a matrix.
  static func transposed(_ base: UnsafePointer<Float>, _ stride: Int) -> LeftOperand {
    LeftOperand(base: base, row: 1, column: stride)
  }
}

/// Matrix products of the chunked kernels, on one thread.
struct PanelProduct: Sendable {
  let kernels: cpu_kernels

  /// Packs a matrix of `rows` by `columns` at the top left of `panels`; element (i, j) of it lies
  /// at i·`row` + j·`column` in `source`.
  func pack(
    _ source: UnsafePointer<Float>, row: Int, column: Int, rows: Int, columns: Int,
    into panels: Panels
  ) {
    kernels.pack(rows, columns, source, row, column, panels.base, panels.stride)
  }

  /// Packs the transpose of `source`.
  func packTransposed(_ source: Panels, into target: Panels) {
    for panel in source.panels {
      kernels.pack(
        panel.width, source.rows, panel.base, 1, source.tile,
        target.base + panel.firstColumn * target.tile, target.stride)
    }
  }

  /// Unpacks `source`, or its first `rows`, into dense rows.
  func unpack(_ source: Panels, rows: Int? = nil, into target: UnsafeMutablePointer<Float>) {
    for panel in source.panels {
      for i in 0..<(rows ?? source.rows) {
        (target + i * source.columns + panel.firstColumn).update(
          from: panel.base + i * source.tile, count: panel.width)
      }
    }
  }

  /// c = a b, or c += a b where it `adds`, over the rows `depth` of b; c has `rows` rows and
  /// `columns` columns, its rows `stride` floats apart.
  func multiply(
    _ a: LeftOperand, _ b: Panels, rows: Int, columns: Int, depth: Range<Int>,
    into c: UnsafeMutablePointer<Float>, stride: Int, adds: Bool
  ) {
    kernels.product(
      rows, columns, depth.count, a.base + depth.lowerBound * a.column, a.row, a.column,
      b.base + depth.lowerBound * b.tile, b.stride, c, stride, b.tile, adds ? 1 : 0)
  }

  /// c = a b, or c += a b where it `adds`, over the rows `depth` of b; c is packed itself, and a
  /// begins with what belongs to the first of `rows`.
  func multiply(
    _ a: LeftOperand, _ b: Panels, depth: Range<Int>, into c: Panels, rows: Range<Int>, adds: Bool
  ) {
    kernels.product(
      rows.count, c.columns, depth.count, a.base + depth.lowerBound * a.column, a.row, a.column,
      b.base + depth.lowerBound * b.tile, b.stride, c.base + rows.lowerBound * c.tile, c.tile,
      c.stride, adds ? 1 : 0)
  }

  /// c += a b, c being packed itself.
  func multiply(_ a: LeftOperand, _ b: Panels, depth: Int, addingTo c: Panels) {
    kernels.product(
      c.rows, c.columns, depth, a.base, a.row, a.column, b.base, b.stride, c.base, c.tile,
      c.stride, 1)
  }
}
