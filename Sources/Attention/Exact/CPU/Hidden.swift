import AttentionCPUKernels
import AttentionTensors

/// Masked memory may hold anything: padding, unwritten pages of a cache. A weight of zero does not cancel NaN
/// or infinity, so kernels that multiply whole tiles check, in tiles with masked pairs, whether all elements
/// are finite. If not, the tile's product adds only values whose weights are not zero, one by one.

extension ExactArguments.Segment {
  /// Whether causality or a window hides a pair.
  var hidesPairs: Bool { !band.covers(rows: 0..<queryCount, columns: 0..<keyCount) }
}

extension ScoreTile {
  /// Whether a pair of a tile is hidden, or may be.
  func hides(_ segment: ExactArguments.Segment, rows: Range<Int>, columns: Range<Int>) -> Bool {
    inputs.keyMask != nil || inputs.bias != nil || inputs.decayCuts != nil
      || !segment.band.covers(rows: rows, columns: columns)
  }
}

/// The masked pairs of a transposed tile, with one row per key and one column per query.
struct HiddenPairs {
  private let places: [Int]

  /// - Parameter tile: the masked scores, −∞ for a masked pair. All pairs count as masked in columns of
  ///   queries whose ``BackwardBlock/logSumExp`` is ∞.
  init(
    _ block: BackwardBlock, keys: Int, _ tile: UnsafePointer<Float>, stride: Int
  ) {
    places = (0..<keys).flatMap { c in
      block.rows.indices.lazy.map { $0 - block.rows.lowerBound }.filter { r in
        tile[c * stride + r] == -.infinity || block.logSumExp[r] == .infinity
      }.map { c * stride + $0 }
    }
  }

  /// Sets these pairs of another tile to zero.
  func clear(_ tile: UnsafeMutablePointer<Float>) {
    for place in places { tile[place] = 0 }
  }
}

extension HeadRows {
  /// Whether all rows except those of `masked`, which is in rising order, are finite.
  func areFinite(
    batch: Int, head: Int, start: Int, count: Int, except masked: [Int] = [],
    _ kernels: cpu_kernels
  ) -> Bool {
    var first = 0
    for end in masked + [count] {
      let rows = at(batch: batch, head: head, start: start + first)
      if kernels.rows_are_finite(type, end - first, dimension, rows, rowStride) == 0 {
        return false
      }
      first = end + 1
    }
    return true
  }

  /// The same for one row of each of `heads` heads.
  func areFinite(batch: Int, heads: Int, row: Int, _ kernels: cpu_kernels) -> Bool {
    kernels.rows_are_finite(
      type, heads, dimension, at(batch: batch, head: 0, start: row), headStride) != 0
  }
}

/// The pieces of packed values that hold NaN or infinity.
struct UnfitPieces: Sendable {
  /// A flag for each piece of each key/value head, not 0 for an unfit one; nil if no pair is masked.
  private let flags: Scratch?
  private let heads: Int
  /// For each sequence, the number of pieces of those before it.
  private let firsts: [Int]

  init(_ inputs: ExactArguments) throws {
    heads = inputs.problem.keyValueHeads
    var total = 0
    firsts = inputs.segments.map { segment in
      defer {
        total += segment.keyCount.pieces(of: ExactArguments.pieceRows)
      }
      return total
    }
    flags = inputs.hidesPairs ? try Scratch(floats: total * heads) : nil
  }

  private func place(_ segment: Int, _ head: Int, _ key: Int) -> Int {
    (firsts[segment] + key / ExactArguments.pieceRows) * heads + head
  }

  /// Checks a piece of the values and stores its flag. Rows `masked`, offsets in the piece, are ignored.
  func note(
    _ rows: HeadRows, _ segment: Int, _ place: ExactArguments.Segment, head: Int, piece: Range<Int>,
    except masked: [Int], _ kernels: cpu_kernels
  ) {
    guard let flags else { return }
    let areFinite = rows.areFinite(
      batch: place.batch, head: head, start: place.keyStart + piece.lowerBound,
      count: piece.count, except: masked, kernels)
    flags.base[self.place(segment, head, piece.lowerBound)] = areFinite ? 0 : 1
  }

  /// Whether a piece with any of the keys `columns`, which must not be empty, is unfit.
  func contain(_ segment: Int, _ head: Int, _ columns: Range<Int>) -> Bool {
    guard let flags else { return false }
    return stride(
      from: columns.lowerBound / ExactArguments.pieceRows,
      through: (columns.upperBound - 1) / ExactArguments.pieceRows, by: 1
    ).contains { flags.base[place(segment, head, $0 * ExactArguments.pieceRows)] != 0 }
  }
}

func isZero(_ row: UnsafePointer<Float>, _ count: Int) -> Bool {
  (0..<count).allSatisfy { row[$0] == 0 }
}

/// Clears normalised rows whose gradient is zero, and their inverse norms: rows outside of all unmasked pairs
/// have no effect on later steps, whatever they held.
func clearUntouched(
  _ rows: UnsafeMutablePointer<Float>, _ lengths: UnsafeMutablePointer<Float>,
  gradients: UnsafePointer<Float>, count: Int, width: Int, groups: Int?
) {
  guard width > 0 else { return }
  for r in 0..<count where isZero(gradients + r * width, width) {
    (rows + r * width).update(repeating: 0, count: width)
    if let groups { (lengths + r * groups).update(repeating: 0, count: groups) }
  }
}
