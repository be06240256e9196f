import AttentionTensors

/// Into how many parts the keys of few queries are split, so that there are blocks for a whole device.
enum FlashSplit {
  /// Rows that are few: more fill the tiles of whole blocks.
  private static let mostRows = 64
  /// Keys that are few: one block reads them sooner than a second kernel starts.
  private static let fewestKeys = 512
  /// Keys of a part, below which merging takes longer than reading.
  private static let smallestPart = 128
  /// Blocks of one warp that share a multiprocessor and keep its memory busy.
  private static let blocksPerMultiprocessor = 4
  /// Rows of such a block.
  private static let rowsPerBlock = 16

  /// nil where a block should see all keys.
  ///
  /// A block has the queries of all heads that read the same keys. There are as many parts as bring the
  /// blocks to four a multiprocessor: 16,384 keys of 8 key heads, one query each, are split into 66 parts
  /// on 132 multiprocessors.
  static func parts(_ problem: ExactProblem, longestQueries: Int, multiprocessors: Int) -> Int? {
    let rows = longestQueries * (problem.heads / problem.keyValueHeads)
    guard rows <= mostRows, problem.keyLength >= fewestKeys else { return nil }
    let blocks =
      rows.pieces(of: rowsPerBlock) * problem.keyValueHeads
      * (problem.packedSequences ?? problem.batch)
    let wanted = multiprocessors * blocksPerMultiprocessor / max(1, blocks)
    let parts = min(wanted, problem.keyLength / smallestPart)
    return parts > 1 ? parts : nil
  }
}
