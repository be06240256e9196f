/// The tile sizes of the CPU kernel, a pure function of the problem.
///
/// A tile of scores, 64 queries by 128 keys, takes 32 KiB and stays in the nearest caches between
/// the product that computes it, the softmax and the product that reads it.
struct TileShape: Hashable, Sendable {
  let queries = 64
  let keys = 128
  /// The number of partial sums of the queries' gradient: see ``init(_:)``.
  let slots: Int

  /// The number of independent pieces that a backward pass should have, so that a long sequence with one
  /// head still occupies the threads. A constant, because results must not depend on the machine.
  private static let wantedPieces = 16

  /// Each key/value head of each sequence is a piece of the backward pass. If these are too few, the keys
  /// of each are assigned to `slots` pieces round-robin, each with its own partial sum of the queries'
  /// gradient.
  init(_ problem: ExactProblem) {
    let pieces = max(1, (problem.packedSequences ?? problem.batch) * problem.keyValueHeads)
    let keyBlocks = max(1, (problem.keyLength + keys - 1) / keys)
    slots = min(keyBlocks, (Self.wantedPieces + pieces - 1) / pieces)
  }
}
