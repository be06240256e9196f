/// A parallel loop over operands of one shape and different strides, a row at a time.
///
/// Adjacent axes are first merged where that is possible in every operand, so contiguous operands are one
/// long row. Long rows are split into pieces, and pieces are spread over the threads.
struct StridedLoop {
  /// The merged extents except the last.
  private var outer: [Int] = []
  /// The strides of ``outer``, one array per operand.
  private var outerStrides: [[Int]]
  /// The length of a row, and the stride along it in each operand.
  private(set) var rowLength = 1
  private(set) var rowStrides: [Int]

  init(shape: Shape, strides: [[Int]]) {
    var axes = MergedAxes(shape: shape, strides: strides)
    rowStrides = [Int](repeating: 0, count: strides.count)
    if let last = axes.extents.popLast() {
      rowLength = last
      for operand in strides.indices { rowStrides[operand] = axes.strides[operand].removeLast() }
    }
    outer = axes.extents
    outerStrides = axes.strides
  }

  /// Calls `body` for each piece of a row, with its length and the offset of its first element in each
  /// operand.
  func forEachPiece(_ body: (_ length: Int, _ offsets: UnsafeBufferPointer<Int>) -> Void) {
    let rows = outer.reduce(1, *)
    guard rows > 0, rowLength > 0 else { return }
    let piecesPerRow = rowLength.pieces(of: Threads.pieceLength)
    let pieceLength = piecesPerRow == 1 ? rowLength : Threads.pieceLength
    let rowsPerTask = max(1, Threads.pieceLength / rowLength)
    let tasks = rows.pieces(of: rowsPerTask)
    let work = { (task: Int) in
      withUnsafeTemporaryAllocation(of: Int.self, capacity: rowStrides.count + outer.count) {
        scratch in
        let offsets = UnsafeMutableBufferPointer(rebasing: scratch[..<rowStrides.count])
        let index = UnsafeMutableBufferPointer(rebasing: scratch[rowStrides.count...])
        for row in task / piecesPerRow
          * rowsPerTask..<min(rows, (task / piecesPerRow + 1) * rowsPerTask)
        {
          self.place(row, index, offsets)
          let first = task % piecesPerRow * pieceLength
          let length = min(pieceLength, rowLength - first)
          for operand in rowStrides.indices { offsets[operand] += first * rowStrides[operand] }
          body(length, UnsafeBufferPointer(offsets))
        }
      }
    }
    Threads.forEach(tasks * piecesPerRow, work)
  }

  /// Computes the offsets of the first element of a row.
  private func place(
    _ row: Int, _ index: UnsafeMutableBufferPointer<Int>,
    _ offsets: UnsafeMutableBufferPointer<Int>
  ) {
    var rest = row
    for axis in stride(from: outer.count - 1, through: 0, by: -1) {
      index[axis] = rest % outer[axis]
      rest /= outer[axis]
    }
    for operand in rowStrides.indices {
      var offset = 0
      for axis in outer.indices { offset += index[axis] * outerStrides[operand][axis] }
      offsets[operand] = offset
    }
  }
}

/// The axes of operands of one shape and different strides, with adjacent axes merged where that is possible
/// in every operand and axes of extent one left out.
struct MergedAxes: Hashable {
  /// Outermost first.
  var extents: [Int] = []
  /// One array per operand.
  var strides: [[Int]]

  init(shape: Shape, strides: [[Int]]) {
    self.strides = [[Int]](repeating: [], count: strides.count)
    for axis in 0..<shape.rank where shape[axis] != 1 {
      let isEven =
        !extents.isEmpty
        && strides.indices.allSatisfy {
          self.strides[$0][extents.count - 1] == strides[$0][axis] * shape[axis]
        }
      if isEven {
        extents[extents.count - 1] *= shape[axis]
        for operand in strides.indices {
          self.strides[operand][extents.count - 1] = strides[operand][axis]
        }
      } else {
        extents.append(shape[axis])
        for operand in strides.indices { self.strides[operand].append(strides[operand][axis]) }
      }
    }
  }
}
