import AttentionCPUKernels
import AttentionTensors

/// Matrix products of the chunked kernels, on one thread. A product takes a ``LeftOperand`` from
/// ``left(_:rows:depth:in:)`` and a right one that ``pack(_:row:column:rows:columns:into:)`` and its
/// like packed.
final class PanelProduct: Sendable {
  let kernels: cpu_kernels
  /// Whether operands are rounded to bfloat16 and multiplied in pairs, at twice the rate. Sums stay
  /// float32.
  let roundsOperands: Bool

  init(kernels: cpu_kernels, roundsOperands: Bool = false) {
    self.kernels = kernels
    self.roundsOperands = roundsOperands
  }

  /// The products for inputs of `dtype`: half precision need not be multiplied as float32 where the
  /// processor multiplies pairs.
  convenience init(kernels: cpu_kernels, for dtype: DType) {
    self.init(kernels: kernels, roundsOperands: dtype == .bfloat16 && kernels.has_bf16 != 0)
  }

  /// Packs a matrix of `rows` by `columns` at the top left of `panels`; element (i, j) of it lies
  /// at i·`row` + j·`column` in `source`, `row` or `column` being 1.
  func pack(
    _ source: UnsafePointer<Float>, row: Int, column: Int, rows: Int, columns: Int,
    into panels: Panels
  ) {
    if roundsOperands {
      kernels.bf16.pack_rounded!(
        rows, columns, source, row, column, panels.pairs, panels.pairStride)
    } else {
      packSums(source, row: row, column: column, rows: rows, columns: columns, into: panels)
    }
  }

  /// ``pack(_:row:column:rows:columns:into:)`` in float32 always, for a state that is added to.
  func packSums(
    _ source: UnsafePointer<Float>, row: Int, column: Int, rows: Int, columns: Int,
    into panels: Panels
  ) {
    kernels.pack(rows, columns, source, row, column, panels.base, panels.stride)
  }

  /// `sums` as a right operand: itself, or rounded into `room`.
  func operand(of sums: Panels, in room: Panels) -> Panels {
    guard roundsOperands else { return sums }
    for (index, panel) in sums.panels.enumerated() {
      kernels.bf16.pair_rows!(
        sums.rows, sums.tile, panel.base, sums.tile, room.pairs + index * room.pairStride,
        2 * sums.tile)
    }
    return room
  }

  /// Packs the transpose of `sums`.
  func packTransposed(_ sums: Panels, into target: Panels) {
    for panel in sums.panels {
      let first = panel.firstColumn * target.tile
      if roundsOperands {
        kernels.bf16.pack_rounded!(
          panel.width, sums.rows, panel.base, 1, sums.tile, target.pairs + first,
          target.pairStride)
      } else {
        kernels.pack(
          panel.width, sums.rows, panel.base, 1, sums.tile, target.base + first, target.stride)
      }
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

  /// Σ over the rows of two right operands' products, a number a column.
  func dots(_ a: Panels, _ b: Panels, into target: UnsafeMutablePointer<Float>) {
    if roundsOperands {
      kernels.bf16.pair_panel_dots!(a.rows, a.columns, a.pairs, b.pairs, a.pairStride, target)
    } else {
      kernels.panel_dots(a.rows, a.columns, a.base, b.base, a.stride, target)
    }
  }

  /// Floats of the room for a left operand.
  static func leftSize(rows: Int, depth: Int) -> Int { rows * (depth + depth % 2) / 2 }

  /// A matrix of `rows` by `depth` as a left operand: itself, or rounded into `room`.
  func left(
    _ a: LeftOperand, rows: Int, depth: Int, in room: UnsafeMutablePointer<Float>
  ) -> LeftOperand {
    guard roundsOperands, case .floats(let base) = a.numbers else { return a }
    let pairs = UnsafeMutableRawPointer(room).assumingMemoryBound(to: UInt16.self)
    if a.column == 1 {
      let stride = depth + depth % 2
      kernels.bf16.round_rows!(rows, depth, base, a.row, pairs, stride)
      return LeftOperand(numbers: .pairs(pairs), row: stride, column: 2)
    }
    kernels.bf16.pair_rows!(depth, rows, base, a.column, pairs, 2 * rows)
    return LeftOperand(numbers: .pairs(pairs), row: 2, column: 2 * rows)
  }

  /// c = a b, or c += a b where it `adds`, over the rows `depth` of b, the first being even; c has
  /// `rows` rows and `columns` columns, its rows `stride` floats apart.
  func multiply(
    _ a: LeftOperand, _ b: Panels, rows: Int, columns: Int, depth: Range<Int>,
    into c: UnsafeMutablePointer<Float>, stride: Int, adds: Bool
  ) {
    multiply(
      a, b, rows: rows, columns: columns, depth: depth, into: c, row: stride, panel: b.tile,
      adds: adds)
  }

  /// c = a b, or c += a b where it `adds`, over the rows `depth` of b; c is packed itself, and a
  /// begins with what belongs to the first of `rows`.
  func multiply(
    _ a: LeftOperand, _ b: Panels, depth: Range<Int>, into c: Panels, rows: Range<Int>, adds: Bool
  ) {
    multiply(
      a, b, rows: rows.count, columns: c.columns, depth: depth,
      into: c.base + rows.lowerBound * c.tile, row: c.tile, panel: c.stride, adds: adds)
  }

  /// c += a b in two halves of rows, with `between` called between them.
  func multiply(
    _ a: LeftOperand, _ b: Panels, depth: Int, addingTo c: Panels, between: () -> Void
  ) {
    let half = c.rows / 2 / Self.rowsAtOnce * Self.rowsAtOnce
    multiply(a, b, depth: 0..<depth, into: c, rows: 0..<half, adds: true)
    between()
    multiply(a.dropping(rows: half), b, depth: 0..<depth, into: c, rows: half..<c.rows, adds: true)
  }

  /// Rows that a product has in registers, or a multiple of them.
  private static let rowsAtOnce = 8

  /// c += a b, c being packed itself.
  func multiply(_ a: LeftOperand, _ b: Panels, depth: Int, addingTo c: Panels) {
    multiply(
      a, b, rows: c.rows, columns: c.columns, depth: 0..<depth, into: c.base, row: c.tile,
      panel: c.stride, adds: true)
  }

  private func multiply(
    _ a: LeftOperand, _ b: Panels, rows: Int, columns: Int, depth: Range<Int>,
    into c: UnsafeMutablePointer<Float>, row: Int, panel: Int, adds: Bool
  ) {
    let first = depth.lowerBound
    switch a.numbers {
    case .floats(let base):
      kernels.product(
        rows, columns, depth.count, base + first * a.column, a.row, a.column,
        b.base + first * b.tile, b.stride, c, row, panel, adds ? 1 : 0)
    case .pairs(let pairs):
      kernels.bf16.product_pairs!(
        rows, columns, depth.count, pairs + first / 2 * a.column, a.row, a.column,
        b.pairs + first * b.tile, b.pairStride, c, row, panel, adds ? 1 : 0)
    }
  }
}
