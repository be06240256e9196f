import AttentionCPUKernels
import AttentionTensors

/// A recurrence of one sequence and head in chunks: forward, or backward to the gradient of its
/// initial state.
///
/// The state is kept in panels: it is the packed right operand of one product and the result of the
/// other.
final class ChunkedForward {
  typealias Piece = RecurrenceReader.Piece
  typealias Rows = UnsafeMutablePointer<Float>

  private let memory: Scratch?
  private let chunk: Chunk
  private let (k, v): (Int, Int)
  /// [k, v]
  private let state: Panels
  /// [64, v]
  private let output: Rows

  /// - Parameter backward: whether gradients are propagated back, too.
  init(_ shape: ChunkShape, backward: Bool = false, _ arena: inout Arena) {
    memory = arena.memory
    (k, v) = (shape.k, shape.v)
    chunk = Chunk(shape, backward: backward, &arena)
    state = arena.sums(k, v, shape)
    output = arena.take(ChunkScores.length * v)
  }

  /// Runs over the tokens of `pieces` and writes the output rows of each.
  ///
  /// - Parameters:
  ///   - finalState: `[k, v]`: the initial state; replaced by the final one.
  ///   - bonus: the terms of an update that reads before it writes.
  func run(
    _ reader: RecurrenceReader, _ pieces: [Piece], _ finalState: Rows, bonus: TokenBonus?,
    to target: TokenRowsOutput
  ) {
    chunk.tokens.read(reader)
    withPacked(finalState) {
      for (index, piece) in pieces.enumerated() {
        let count = piece.count
        chunk.tokens.load(piece, .everything, then: pieces.at(index + 1))
        chunk.tokens.ahead.ask(target, row: piece.row, tokens: piece.reading, head: piece.head)
        chunk.score(count, withQueries: true)
        chunk.solve(count, state)
        chunk.read(count, state, into: output)
        bonus?.add(piece, queries: chunk.tokens.queries, to: output)
        target.store(row: piece.row, tokens: piece.reading, head: piece.head, from: output)
        chunk.write(count, to: state)
      }
    }
  }

  /// The state after `pieces`, without their output.
  ///
  /// - Parameter finalState: `[k, v]`: the state before them; replaced by that after them.
  func advance(_ reader: RecurrenceReader, _ pieces: [Piece], _ finalState: Rows) {
    chunk.tokens.read(reader)
    withPacked(finalState) {
      for (index, piece) in pieces.enumerated() {
        chunk.tokens.load(piece, .writes, then: pieces.at(index + 1))
        chunk.score(piece.count, withQueries: false)
        chunk.solve(piece.count, state)
        chunk.write(piece.count, to: state)
      }
    }
  }

  /// The gradient of the state before `pieces`, from the last chunk on, without other gradients.
  ///
  /// - Parameters:
  ///   - gradient: `[k, v]`: that of the state after them; replaced by that of the state before
  ///     them.
  ///   - incoming: the gradient of the output, dO.
  func retreat(
    _ reader: RecurrenceReader, _ pieces: [Piece], _ gradient: Rows, incoming: TokenRows
  ) {
    chunk.tokens.read(reader, incoming: incoming)
    withPacked(gradient) {
      for (index, piece) in pieces.enumerated().reversed() {
        chunk.tokens.load(piece, .reads, then: pieces.at(index - 1))
        if chunk.shape.erases {
          chunk.score(piece.count, withQueries: true)
        } else {
          chunk.scores.decayReads(piece.count, chunk.tokens.reads, chunk.tokens.decay)
        }
        chunk.solveBack(piece.count, state)
        chunk.readBack(piece.count, to: state)
      }
    }
  }

  private func withPacked(_ rows: Rows, _ body: () -> Void) {
    chunk.product.packSums(rows, row: v, column: 1, rows: k, columns: v, into: state)
    body()
    chunk.product.unpack(state, into: rows)
  }
}

extension Array {
  /// The element at `index`, if there is one.
  func at(_ index: Int) -> Element? { indices.contains(index) ? self[index] : nil }
}
