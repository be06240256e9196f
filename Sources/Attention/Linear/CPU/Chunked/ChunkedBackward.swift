import AttentionCPUKernels
import AttentionTensors

/// The gradients of a recurrence of one sequence and head, chunk by chunk from the last.
///
/// First the states before each chunk, and what erasing tokens write, are recomputed and kept, so
/// memory grows with the number of chunks. Then ``Chunk`` propagates the gradient of the state, and
/// ``ChunkGradients`` computes those of the reads and writes.
final class ChunkedBackward {
  typealias Piece = RecurrenceReader.Piece
  typealias Rows = UnsafeMutablePointer<Float>

  /// The memory of the gradients.
  struct Targets {
    let queries: TokenRowsOutput
    /// Keys, values, the decay if there is one, and the tensors of an erasing update.
    let others: [TokenRowsOutput]
  }

  private let memory: Scratch?
  private let shape: ChunkShape
  private let chunk: Chunk
  private let gradients: ChunkGradients
  private let kernels: cpu_kernels
  private let (k, v): (Int, Int)
  /// The state [k, v], while the states are computed, and then dh'.
  private let state: Panels
  /// The transpose of dh', [v, k], in float32.
  private let transposedGradient: Panels
  /// The transposed state before each chunk, [v, k] each in float32, and u of each, [64, v].
  private let states: [Panels]
  private let solutions: [Rows]
  /// [64, v] each: f of r, and the gradient of values that are written.
  private let found, valueGradient: Rows
  /// β's gradient [64], delta rule only.
  private let betaGradient: Rows
  /// Working memory of loops, [65, k].
  private let work: Rows

  init(_ shape: ChunkShape, chunks: Int, _ arena: inout Arena) {
    memory = arena.memory
    self.shape = shape
    kernels = shape.kernels
    (k, v) = (shape.k, shape.v)
    let (k, v, length) = (k, v, ChunkScores.length)
    chunk = Chunk(shape, backward: true, &arena)
    gradients = ChunkGradients(shape, chunk.scores, chunk.product, &arena)
    state = arena.sums(k, v, shape)
    transposedGradient = arena.sums(v, k, shape)
    states = (0..<chunks).map { _ in arena.sums(v, k, shape) }
    solutions = (0..<(shape.erases ? chunks : 0)).map { _ in arena.take(length * v) }
    found = arena.take(shape.erases ? length * v : 0)
    valueGradient = arena.take(shape.writesValues ? length * v : 0)
    betaGradient = arena.take(length)
    work = arena.take((length + 1) * k)
  }

  /// Runs over `pieces` from the last and writes the gradients of each.
  ///
  /// - Parameters:
  ///   - initialState: `[k, v]`
  ///   - gradient: `[k, v]`: that of the final state; replaced by that of the initial state.
  ///   - incoming: the gradient of the output, dO.
  ///   - bonus: the terms of an update that reads before it writes.
  ///   - targets: the memory of the gradients.
  func run(
    _ reader: RecurrenceReader, _ pieces: [Piece], initialState: UnsafePointer<Float>,
    gradient: Rows, incoming: TokenRows, bonus: TokenBonus?, to targets: Targets
  ) {
    let (tokens, product) = (chunk.tokens, chunk.product)
    tokens.read(reader, incoming: incoming)
    computeStates(pieces, initialState)
    product.packSums(gradient, row: v, column: 1, rows: k, columns: v, into: state)
    for (index, piece) in pieces.enumerated().reversed() {
      tokens.load(piece, .everything, then: pieces.at(index - 1))
      tokens.ahead.ask(targets.queries, row: piece.row, tokens: piece.reading, head: piece.head)
      for target in targets.others {
        tokens.ahead.ask(target, row: piece.row, tokens: piece.tokens, head: piece.head)
      }
      differentiate(piece.count, index)
      let rows = inputGradients(piece.count)
      let (queryGradient, keyGradient) = (gradients.reads[0], rows[0])
      bonus?.addToQueries(piece, outputGradient: tokens.incoming, to: queryGradient)
      bonus?.addToWrites(
        piece, keys: tokens.keys, values: tokens.values, incoming: incoming,
        keyGradient: keyGradient, valueGradient: rows[1])
      tokens.chain(
        piece.count, queryGradient: queryGradient, keyGradient: keyGradient, work: work)
      targets.queries.store(
        row: piece.row, tokens: piece.reading, head: piece.head, from: queryGradient)
      for (target, rows) in zip(targets.others, rows) {
        target.store(row: piece.row, tokens: piece.tokens, head: piece.head, from: rows)
      }
    }
    product.unpack(state, into: gradient)
  }

  /// The state before each chunk, and what each writes.
  private func computeStates(_ pieces: [Piece], _ initialState: UnsafePointer<Float>) {
    let product = chunk.product
    product.packSums(initialState, row: v, column: 1, rows: k, columns: v, into: state)
    for (index, piece) in pieces.enumerated() {
      product.packTransposed(state, into: states[index])
      let isLast = index == pieces.count - 1
      if isLast, !shape.erases { return }
      chunk.tokens.load(piece, .writes, then: pieces.at(index + 1))
      chunk.score(piece.count, withQueries: false)
      chunk.solve(piece.count, state)
      if shape.erases {
        product.unpack(chunk.solution, rows: piece.count, into: solutions[index])
      }
      if !isLast { chunk.write(piece.count, to: state) }
    }
  }

  /// The gradients of what the tokens of a chunk read and wrote.
  private func differentiate(_ count: Int, _ index: Int) {
    let tokens = chunk.tokens
    chunk.score(count, withQueries: true)
    chunk.product.packTransposed(state, into: transposedGradient)
    chunk.solveBack(count, state)
    if shape.writesValues { chunk.differentiateValues(count, state, into: valueGradient) }
    if shape.erases { chunk.product.unpack(chunk.found, rows: count, into: found) }
    let outputGradient = UnsafePointer(tokens.incoming)
    let solved = shape.erases ? [UnsafePointer(solutions[index])] : []
    gradients.compute(
      count,
      ChunkGradients.Flow(
        reads: tokens.reads, writes: tokens.writes, decay: tokens.decay,
        found: shape.erases ? [outputGradient, UnsafePointer(found)] : [outputGradient],
        written: solved + (shape.writesValues ? [UnsafePointer(tokens.values)] : []),
        state: states[index], stateGradient: transposedGradient))
    chunk.readBack(count, to: state)
  }

  /// Backpropagates the gradients of r, z and source to the inputs that they are derived from, in
  /// the order of ``Targets/others``; keys are still normalised.
  private func inputGradients(_ count: Int) -> [Rows] {
    let tokens = chunk.tokens
    let keys = gradients.writes[shape.writes - 1]
    let decay = shape.decayWidth > 0 ? [gradients.decay] : []
    switch shape.update {
    case .additive, .additiveBefore: return [keys, valueGradient] + decay
    case .lowRank:
      return [keys, valueGradient] + decay + [gradients.reads[1], gradients.writes[0]]
    case .delta:
      // r = −βk, source = βv
      let reads = gradients.reads[1]
      for t in 0..<count {
        let (key, value) = (t * k, t * v)
        betaGradient[t] =
          kernels.dot(v, tokens.values + value, found + value)
          - kernels.dot(k, tokens.keys + key, reads + key)
        kernels.axpy(k, -tokens.beta[t], reads + key, keys + key)
      }
      kernels.scale_rows(count, v, tokens.beta, 1, found, v)
      return [keys, found] + decay + [betaGradient]
    case .generalizedDelta:
      kernels.scale(count * k, -1, gradients.reads[1])
      return [keys, found] + decay + [gradients.reads[1]]
    }
  }
}
