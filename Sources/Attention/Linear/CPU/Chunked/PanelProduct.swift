import AttentionCPUKernels
import AttentionTensors

/// Matrix products of a chunk, on one thread. The left operand of a product is made by
/// ``left(_:rows:depth:)``, the right one by ``pack(_:row:column:rows:columns:into:)`` and similar
/// functions. While products are computed, rows of the next chunk are prefetched: ``ahead``.
final class PanelProduct {
  let kernels: cpu_kernels
  /// Whether operands are rounded to bfloat16.
  private let roundsOperands: Bool
  /// The memory of a left operand.
  private let leftRoom: UnsafeMutablePointer<UInt16>
  let ahead: RowsAhead

  init(_ shape: ChunkShape, _ ahead: RowsAhead, _ arena: inout Arena) {
    kernels = shape.kernels
    roundsOperands = shape.roundsOperands
    self.ahead = ahead
    // Tokens by channels, channels by tokens, or tokens by tokens.
    let widest = max(shape.k, shape.v, ChunkScores.length)
    let pairs = roundsOperands ? ChunkScores.length * (widest + widest % 2) : 0
    leftRoom = UnsafeMutableRawPointer(arena.take(pairs / 2)).assumingMemoryBound(to: UInt16.self)
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

  /// ``pack(_:row:column:rows:columns:into:)``, always in float32, for sums.
  func packSums(
    _ source: UnsafePointer<Float>, row: Int, column: Int, rows: Int, columns: Int,
    into panels: Panels
  ) {
    kernels.pack(rows, columns, source, row, column, panels.base, panels.stride)
  }

  /// `sums` as a right operand: itself, or rounded into `room`.
  ///
  /// - Parameter rows: the rows to round, the first of which is even; nil for all.
  @discardableResult
  func operand(of sums: Panels, rows: Range<Int>? = nil, in room: Panels) -> Panels {
    guard roundsOperands else { return sums }
    let rows = rows ?? 0..<sums.rows
    for (index, panel) in sums.panels.enumerated() {
      kernels.bf16.pair_rows!(
        rows.count, sums.tile, panel.base + rows.lowerBound * sums.tile, sums.tile,
        room.pairs + index * room.pairStride + rows.lowerBound * sums.tile, 2 * sums.tile)
    }
    return room
  }

  /// Packs the transpose of `sums`, in float32.
  func packTransposed(_ sums: Panels, into target: Panels) {
    for panel in sums.panels {
      kernels.pack(
        panel.width, sums.rows, panel.base, 1, sums.tile,
        target.base + panel.firstColumn * target.tile, target.stride)
    }
  }

  /// Unpacks `sums`, or its first `rows`, into contiguous rows.
  func unpack(_ sums: Panels, rows: Int? = nil, into target: UnsafeMutablePointer<Float>) {
    for panel in sums.panels {
      for i in 0..<(rows ?? sums.rows) {
        (target + i * sums.columns + panel.firstColumn).update(
          from: panel.base + i * sums.tile, count: panel.width)
      }
    }
  }

  /// A matrix of `rows` by `depth` as a left operand, until the next one.
  func left(_ a: LeftOperand, rows: Int, depth: Int) -> LeftOperand {
    guard roundsOperands, case .floats(let base) = a.numbers else { return a }
    if a.column == 1 {
      let stride = depth + depth % 2
      kernels.bf16.round_rows!(rows, depth, base, a.row, leftRoom, stride)
      return LeftOperand(numbers: .pairs(leftRoom), row: stride, column: 2)
    }
    kernels.bf16.pair_rows!(depth, rows, base, a.column, leftRoom, 2 * rows)
    return LeftOperand(numbers: .pairs(leftRoom), row: 2, column: 2 * rows)
  }

  /// The number of rows after which prefetched rows may be copied.
  private static let rowsAtOnce = 64

  /// c = a b, or c += a b if it `adds`.
  ///
  /// - Parameters:
  ///   - rows: rows of a and c.
  ///   - depth: rows of b, the first of which is even.
  ///   - columns: the first columns of b; nil for all.
  func multiply(
    _ a: LeftOperand, _ b: Panels, rows: Range<Int>, depth: Range<Int>, columns: Int? = nil,
    into c: ProductTarget, adds: Bool
  ) {
    let (columns, panel, first) = (columns ?? b.columns, c.panel ?? b.tile, depth.lowerBound)
    for start in stride(from: rows.lowerBound, to: rows.upperBound, by: Self.rowsAtOnce) {
      let count = min(Self.rowsAtOnce, rows.upperBound - start)
      switch a.numbers {
      case .floats(let base):
        kernels.product(
          count, columns, depth.count, base + start * a.row + first * a.column, a.row, a.column,
          b.base + first * b.tile, b.stride, c.base + start * c.row, c.row, panel, adds ? 1 : 0)
      case .pairs(let pairs):
        kernels.bf16.product_pairs!(
          count, columns, depth.count, pairs + start * a.row + first / 2 * a.column, a.row,
          a.column, b.pairs + first * b.tile, b.pairStride, c.base + start * c.row, c.row, panel,
          adds ? 1 : 0)
      }
      ahead.fetched(multiplyAdds: count * columns * depth.count)
    }
  }
}
