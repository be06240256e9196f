/// The sequences of a call cut into consecutive pieces, recurrence by recurrence. Each piece is a
/// separate task that starts from the state before it.
struct SequencePieces {
  struct Piece {
    /// Sequence `recurrence` ÷ hv and value head `recurrence` mod hv.
    let recurrence: Int
    let head: Int
    /// Its tokens in chunks; an empty sequence has none.
    let chunks: [RecurrenceReader.Piece]
    let isFirst: Bool
    let isLast: Bool
  }

  let all: [Piece]
  /// The number of tokens of the longest piece.
  var longest: Int {
    all.lazy.map { $0.chunks.reduce(0) { $0 + $1.count } }.max() ?? 0
  }

  /// - Parameter tokens: the largest number of tokens of a piece, a multiple of the chunk; nil
  ///   leaves sequences whole.
  init(_ call: LinearArguments, tokens: Int? = nil) {
    let most = tokens.map { $0 / ChunkScores.length } ?? .max
    all = (0..<call.problem.recurrences).flatMap { recurrence in
      let chunks = call.pieces(
        ofRecurrence: recurrence, length: ChunkScores.length, readsAhead: true)
      let starts = Array(stride(from: 0, to: max(1, chunks.count), by: most))
      return starts.map { start in
        Piece(
          recurrence: recurrence, head: recurrence % call.problem.valueHeads,
          chunks: Array(chunks[start..<min(chunks.count - start, most) + start]),
          isFirst: start == 0,
          isLast: start == starts[starts.count - 1])
      }
    }
  }

  var count: Int { all.count }
}
