/// Pieces of sequences that one thread takes together, so that short ones share the room for a chunk: to
/// make it takes as long as some tokens.
struct TaskPlan {
  /// Elements of states times tokens that are worth a thread's attention.
  private static let leastWork = 1 << 18

  /// Tasks, and the pieces of all but the last.
  let count: Int
  private let size: Int
  private let pieces: Int

  /// - Parameters:
  ///   - pieces: how many there are.
  ///   - stateSize: elements of a state.
  ///   - tokens: of a piece.
  init(_ pieces: Int, stateSize: Int, tokens: Int) {
    self.pieces = pieces
    size = max(1, Self.leastWork / max(1, stateSize * tokens))
    count = (pieces + size - 1) / size
  }

  /// The pieces of a task.
  subscript(task: Int) -> Range<Int> { task * size..<min(pieces, (task + 1) * size) }
}
