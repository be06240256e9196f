import AttentionCPUKernels
import AttentionTensors

/// The terms that an update that reads before it writes adds to the additive recurrence.
///
/// o_t = scale · (S_{t−1} + diag(u) k_t v_tᵀ)ᵀ q_t: the query reads the state after the previous
/// token. So the recurrence runs with each query, its output and their gradients moved to the
/// previous token: ``RecurrenceReader/Piece/reading``. The remaining terms are those of the token's
/// own pair,
///
///     o += (Σ_d q_d u_d k_d) v
///     dq += (v·dO) u ⊙ k ,  dk += (v·dO) u ⊙ q ,  du += (v·dO) q ⊙ k ,  dv += (Σ q u k) dO
///
/// and the first token of a sequence, which reads the initial state.
final class TokenBonus {
  typealias Piece = RecurrenceReader.Piece
  typealias Rows = UnsafeMutablePointer<Float>

  private let memory: Scratch?
  private let kernels: cpu_kernels
  private let (k, v): (Int, Int)
  private let tokens: ChunkTokens
  /// [k] each: u, and its gradient.
  private let bonus, gradient: Rows
  /// [k], a product of two rows, and [64, v], rows of outputs or of their gradients.
  private let row, rows: Rows

  /// Nil for other updates.
  init?(_ call: LinearArguments, _ reader: RecurrenceReader, _ shape: ChunkShape, head: Int) throws
  {
    guard let elements = try call.bonusElements() else { return nil }
    kernels = shape.kernels
    let (k, v) = (shape.k, shape.v)
    (self.k, self.v) = (k, v)
    (tokens, bonus, gradient, row, rows, memory) = try Arena.place { arena in
      (
        ChunkTokens(shape, length: ChunkScores.length, looksAhead: false, &arena),
        arena.take(k), arena.take(k), arena.take(k), arena.take(ChunkScores.length * v),
        arena.memory
      )
    }
    tokens.read(reader)
    gradient.update(repeating: 0, count: k)
    bonus.update(
      from: elements.base.assumingMemoryBound(to: Float.self) + head * k, count: k)
  }

  func copyGradient(to target: Rows) { target.update(from: gradient, count: k) }

  /// Adds the bonus to the output of the tokens that `piece` reads.
  ///
  /// - Parameters:
  ///   - queries: `[tokens, k]`, scaled.
  ///   - output: `[tokens, v]`.
  func add(_ piece: Piece, queries: UnsafePointer<Float>, to output: Rows) {
    tokens.load(piece.atReading, .writes)
    for t in 0..<piece.reading.count {
      kernels.binary_f32(CPU_MULTIPLY, k, queries + t * k, 1, bonus, 1, row)
      kernels.axpy(
        v, kernels.dot(k, row, tokens.keys + t * k), tokens.values + t * v, output + t * v)
    }
  }

  /// Adds the bonus's share to the gradients of the queries [tokens, k] that `piece` reads.
  func addToQueries(_ piece: Piece, outputGradient: UnsafePointer<Float>, to target: Rows) {
    tokens.load(piece.atReading, .writes)
    for t in 0..<piece.reading.count {
      let weight = kernels.dot(v, tokens.values + t * v, outputGradient + t * v)
      kernels.binary_f32(CPU_MULTIPLY, k, tokens.keys + t * k, 1, bonus, 1, row)
      kernels.axpy(k, weight, row, target + t * k)
    }
  }

  /// Adds the bonus's share to the gradients of the keys [tokens, k] and values [tokens, v] that
  /// `piece` writes, and accumulates the gradient of the bonus.
  func addToWrites(
    _ piece: Piece, keys: UnsafePointer<Float>, values: UnsafePointer<Float>, incoming: TokenRows,
    keyGradient: Rows, valueGradient: Rows
  ) {
    let own = piece.atTokens
    tokens.load(own, .queries)
    incoming.load(row: own.row, tokens: own.tokens, head: own.head, to: rows)
    for t in 0..<own.count {
      let (query, key, outputGradient) = (tokens.queries + t * k, keys + t * k, rows + t * v)
      let weight = kernels.dot(v, values + t * v, outputGradient)
      kernels.binary_f32(CPU_MULTIPLY, k, query, 1, bonus, 1, row)
      kernels.axpy(k, weight, row, keyGradient + t * k)
      kernels.axpy(v, kernels.dot(k, row, key), outputGradient, valueGradient + t * v)
      kernels.binary_f32(CPU_MULTIPLY, k, query, 1, key, 1, row)
      kernels.axpy(k, weight, row, gradient)
    }
  }

  /// The output of the first token of a sequence, from its initial state [k, v].
  func readFirst(_ chunk: Piece, _ state: UnsafePointer<Float>, to target: TokenRowsOutput) {
    let first = chunk.firstToken
    tokens.load(first, .queries)
    rows.update(repeating: 0, count: v)
    for d in 0..<k { kernels.axpy(v, tokens.queries[d], state + d * v, rows) }
    add(first, queries: tokens.queries, to: rows)
    target.store(row: first.row, tokens: first.tokens, head: first.head, from: rows)
  }

  /// Stores the gradient of the first token's query, and adds its share to the gradient of the
  /// initial state.
  func readFirstBackward(
    _ chunk: Piece, _ state: UnsafePointer<Float>, _ stateGradient: Rows, incoming: TokenRows,
    to target: TokenRowsOutput
  ) throws {
    let first = chunk.firstToken
    tokens.load(first, .queries)
    incoming.load(row: first.row, tokens: first.tokens, head: first.head, to: rows)
    let queryGradient = try Scratch(floats: 4 * k)
    let unused = queryGradient.base + k
    for d in 0..<k {
      queryGradient.base[d] = kernels.dot(v, state + d * v, rows)
      kernels.axpy(v, tokens.queries[d], rows, stateGradient + d * v)
    }
    addToQueries(first, outputGradient: rows, to: queryGradient.base)
    unused.update(repeating: 0, count: k)
    tokens.chain(1, queryGradient: queryGradient.base, keyGradient: unused, work: unused + k)
    target.store(
      row: first.row, tokens: first.tokens, head: first.head, from: queryGradient.base)
  }
}

extension RecurrenceReader.Piece {
  /// The tokens that the piece reads.
  fileprivate var atReading: RecurrenceReader.Piece { reading(at: reading) }
  /// Its own tokens, whose queries read at the token itself.
  fileprivate var atTokens: RecurrenceReader.Piece { reading(at: tokens) }
  /// Its first token.
  fileprivate var firstToken: RecurrenceReader.Piece {
    reading(at: tokens.lowerBound..<tokens.lowerBound + 1)
  }

  private func reading(at tokens: Range<Int>) -> RecurrenceReader.Piece {
    RecurrenceReader.Piece(
      row: row, head: head, queryHead: queryHead, tokens: tokens, reading: tokens)
  }
}
