import Tensors

/// Rows of numbers cut into blocks for the threads. The cut depends on the rows only, so sums that
/// are made block by block do not depend on the number of threads.
struct RowBlocks {
  /// Numbers in a block: long enough to hide the cost of starting one.
  private static let blockLength = 16_384

  let rows: Int
  let rowsPerBlock: Int
  var count: Int { (rows + rowsPerBlock - 1) / rowsPerBlock }

  init(rows: Int, width: Int) {
    self.rows = rows
    rowsPerBlock = max(1, Self.blockLength / max(1, width))
  }

  /// Calls `body` for every block, on all threads.
  func forEach(_ body: (_ block: Int, _ rows: Range<Int>) -> Void) {
    Threads.forEach(count) { block in
      body(block, block * rowsPerBlock..<min(rows, (block + 1) * rowsPerBlock))
    }
  }
}
