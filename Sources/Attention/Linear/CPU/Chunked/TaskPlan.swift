/// Groups pieces of sequences into tasks, so that short ones share the memory of a chunk, whose
/// allocation takes as long as computing several tokens.
struct TaskPlan {
  /// The fewest elements of states times tokens for which a task pays off.
  private static let leastWork = 1 << 18

  /// The number of tasks, and of the pieces of each but the last.
  let count: Int
  private let size: Int
  private let pieces: Int

  /// - Parameters:
  ///   - pieces: the number of pieces.
  ///   - stateSize: the elements of a state.
  ///   - tokens: the tokens of a piece.
  init(_ pieces: Int, stateSize: Int, tokens: Int) {
    self.pieces = pieces
    size = max(1, Self.leastWork / max(1, stateSize * tokens))
    count = (pieces + size - 1) / size
  }

  /// The pieces of a task.
  subscript(task: Int) -> Range<Int> { task * size..<min(pieces, (task + 1) * size) }
}
