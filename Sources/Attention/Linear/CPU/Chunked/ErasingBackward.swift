import AttentionCPUKernels
import AttentionTensors

/// The gradients of the erasing recurrence of one sequence and head, chunk by chunk from the last.
///
/// First the states before each chunk and what each chunk writes are computed anew and kept, so
/// memory grows with the number of chunks. Then, with dh' the gradient of the state after a chunk, f
/// that of what r finds, A, L, M and the rest as in ``ErasingChunk``:
///
///     du = Aᵀ dO + (z e^(γ − G)) dh' ,   (1 − L)ᵀ f = du ,   dsource = f
///     dh = e^γ dh' + (q e^G)ᵀ dO + (r e^G)ᵀ f
///
/// and the rest by ``ChunkGradients``: queries find with the gradient dO, r with f. For a low rank,
/// dv = A'ᵀ dO + (k e^(γ − G)) dh' + Mᵀ f.
final class ErasingBackward {
  typealias Piece = RecurrenceReader.Piece
  typealias Rows = UnsafeMutablePointer<Float>

  /// Where the gradients go.
  struct Targets {
    let queries, keys, values: TokenRowsOutput
    let decay: TokenRowsOutput?
    let update: [TokenRowsOutput]

    var all: [TokenRowsOutput] { [queries, keys, values] + [decay].compactMap { $0 } + update }
  }

  let chunk: ErasingChunk
  let gradients: ChunkGradients
  let product: PanelProduct
  let kernels: cpu_kernels
  let (k, v): (Int, Int)
  private let scratch: Scratch
  /// The states before each chunk, [k, v] each.
  private let states: [Panels]
  /// u of each chunk, [64, v] each.
  private let solutions: [Panels]
  /// hᵀ [v, k]
  private let transposedState: Panels
  /// dh' [k, v], and its transpose.
  private let stateGradient, transposedStateGradient: Panels
  /// dO and f [64, v]
  private let packedOutputGradient, packedFound: Panels
  /// [64, v] each: dO, f, u, and the gradient of the values.
  private(set) var outputGradient: Rows
  let found, written, valueGradient: Rows
  /// β's gradient [64], delta rule only.
  let betaGradient: Rows
  /// Working memory of loops, [65, k].
  private let work: Rows

  init(_ reader: ErasingReader, _ product: PanelProduct, chunks: Int) throws {
    self.product = product
    kernels = product.kernels
    let (k, v) = (reader.tokens.keyDimension, reader.tokens.valueDimension)
    (self.k, self.v) = (k, v)
    let (length, tile) = (ChunkScores.length, kernels.tile_columns)
    chunk = try ErasingChunk(reader, product)
    gradients = try ChunkGradients(chunk.scores, product, k, v)
    scratch = try Scratch(floats: Self.ownSize(k, v, tile: tile, chunks: chunks))
    var next = scratch.base
    func take(_ count: Int) -> Rows {
      defer { next += count }
      return next
    }
    func panels(_ rows: Int, _ columns: Int) -> Panels {
      Panels(
        rows: rows, columns: columns, tile: tile,
        base: take(Panels.size(rows: rows, columns: columns, tile: tile)))
    }
    states = (0..<chunks).map { _ in panels(k, v) }
    solutions = (0..<chunks).map { _ in panels(length, v) }
    transposedState = panels(v, k)
    stateGradient = panels(k, v)
    transposedStateGradient = panels(v, k)
    packedOutputGradient = panels(length, v)
    packedFound = panels(length, v)
    outputGradient = take(length * v)
    found = take(length * v)
    written = take(length * v)
    valueGradient = take(length * v)
    betaGradient = take(length)
    work = take((length + 1) * k)
  }

  /// Floats of working memory.
  static func size(_ problem: LinearProblem, tile: Int) -> Int {
    let (k, v, length) = (problem.keyDimension, problem.valueDimension, ChunkScores.length)
    return ErasingChunk.size(problem, tile: tile)
      + ChunkGradients.size(
        k, v, tile: tile, reads: 2, writes: problem.update == .lowRank ? 2 : 1)
      + ownSize(k, v, tile: tile, chunks: (problem.length + length - 1) / length)
  }

  private static func ownSize(_ k: Int, _ v: Int, tile: Int, chunks: Int) -> Int {
    let length = ChunkScores.length
    let panels =
      (Panels.size(rows: k, columns: v, tile: tile)
        + Panels.size(rows: length, columns: v, tile: tile)) * (chunks + 1)
      + Panels.size(rows: v, columns: k, tile: tile) * 2
      + Panels.size(rows: length, columns: v, tile: tile)
    return panels + length * (4 * v + 1) + (length + 1) * k
  }

  /// Runs over `pieces` from the last and writes the gradients of each.
  ///
  /// - Parameters:
  ///   - initialState: `[k, v]`
  ///   - gradient: `[k, v]`: that of the final state, and afterwards that of the initial state.
  ///   - incoming: the gradient of the output, dO.
  func run(
    _ pieces: [Piece], initialState: UnsafePointer<Float>, gradient: Rows, incoming: TokenRows,
    to targets: Targets
  ) throws {
    try chunk.tokens.tokens.addIncoming(incoming)
    computeStates(pieces, initialState)
    product.pack(gradient, row: v, column: 1, rows: k, columns: v, into: stateGradient)
    for (index, piece) in pieces.enumerated().reversed() {
      chunk.tokens.tokens.loadQueries(piece)
      chunk.tokens.loadWrites(piece)
      chunk.tokens.tokens.loadIncoming(piece, into: &outputGradient)
      chunk.tokens.ask(index > 0 ? pieces[index - 1] : nil)
      for target in targets.all {
        target.ask(row: piece.row, tokens: piece.tokens, head: piece.head)
      }
      differentiate(piece.count, states[index], solutions[index])
      let sources = chainToInputs(piece.count)
      chunk.tokens.reader.tokens.backward(
        piece.count, chunk.tokens.tokens, queryGradient: gradients.reads[0],
        keyGradient: gradients.writes[gradients.writes.count - 1], scratch: work)
      for (target, rows) in zip(targets.all, sources) {
        target.store(row: piece.row, tokens: piece.tokens, head: piece.head, from: rows)
      }
    }
    product.unpack(stateGradient, into: gradient)
  }

  /// The state before each chunk, and what each writes.
  private func computeStates(_ pieces: [Piece], _ initialState: UnsafePointer<Float>) {
    guard let first = states.first else { return }
    product.pack(initialState, row: v, column: 1, rows: k, columns: v, into: first)
    for (index, piece) in pieces.enumerated() {
      chunk.tokens.loadWrites(piece)
      chunk.tokens.ask(index + 1 < pieces.count ? pieces[index + 1] : nil, onlyWrites: true)
      chunk.score(piece.count, withQueries: false)
      chunk.tokens.tokens.advance()
      chunk.solve(piece.count, states[index], into: solutions[index])
      chunk.tokens.tokens.advance()
      guard index + 1 < pieces.count else { return }
      let next = states[index + 1]
      next.base.update(from: states[index].base, count: next.size)
      chunk.update(next, piece.count, solutions[index])
    }
  }

  /// The gradients of what a chunk of `count` tokens read and wrote.
  private func differentiate(_ count: Int, _ state: Panels, _ solution: Panels) {
    let scores = chunk.scores
    chunk.score(count, withQueries: true)
    chunk.tokens.tokens.advance()
    product.packTransposed(state, into: transposedState)
    product.packTransposed(stateGradient, into: transposedStateGradient)
    product.pack(
      outputGradient, row: v, column: 1, rows: count, columns: v, into: packedOutputGradient)

    // f, from du.
    product.multiply(
      .rows(scores.writes[0].rows, k), stateGradient, depth: 0..<k, into: packedFound,
      rows: 0..<count, adds: false)
    for block in ChunkScores.blocks(count) {
      product.multiply(
        .transposed(scores.scores(0, 0) + block.tokens.lowerBound, ChunkScores.length),
        packedOutputGradient, depth: block.tokens.lowerBound..<count, into: packedFound,
        rows: block.tokens, adds: true)
    }
    chunk.tokens.tokens.advance()
    chunk.solveTransposed(count, packedFound)
    product.unpack(packedFound, rows: count, into: found)
    product.unpack(solution, rows: count, into: written)
    if chunk.tokens.reader.isLowRank { differentiateValues(count) }

    let tokens = chunk.tokens
    gradients.compute(
      count,
      ChunkGradients.Flow(
        reads: tokens.reads, writes: tokens.writes, decay: UnsafePointer(tokens.tokens.decay),
        found: [UnsafePointer(outputGradient), UnsafePointer(found)],
        written: tokens.reader.isLowRank
          ? [UnsafePointer(written), UnsafePointer(tokens.tokens.values)]
          : [UnsafePointer(written)],
        state: transposedState, stateGradient: transposedStateGradient),
      advance: tokens.tokens.advance)

    scores.decayState(stateGradient)
    for (read, found) in zip(scores.reads, [packedOutputGradient, packedFound]) {
      product.multiply(.transposed(read.rows, k), found, depth: count, addingTo: stateGradient)
    }
  }

  /// The gradient of values that are written beside u.
  private func differentiateValues(_ count: Int) {
    let scores = chunk.scores
    product.multiply(
      .rows(scores.writes[1].rows, k), stateGradient, rows: count, columns: v, depth: 0..<k,
      into: valueGradient, stride: v, adds: false)
    for (read, found) in [packedOutputGradient, packedFound].enumerated() {
      for block in ChunkScores.blocks(count) {
        let first = block.tokens.lowerBound
        product.multiply(
          .transposed(scores.scores(read, 1) + first, ChunkScores.length), found,
          rows: block.tokens.count, columns: v, depth: first..<count,
          into: valueGradient + first * v, stride: v, adds: true)
      }
    }
  }
}

extension ErasingBackward {
  /// Brings the gradients of r, z and source to the inputs that they were made of, in the order of
  /// ``Targets/all``; queries and keys are still normalised and scaled.
  private func chainToInputs(_ count: Int) -> [Rows] {
    let tokens = chunk.tokens
    let reads = gradients.reads[1]
    let decay = tokens.reader.tokens.decayWidth > 0 ? [gradients.decay] : []
    let keys = gradients.writes[gradients.writes.count - 1]
    switch tokens.reader.update {
    case .lowRank:
      return [gradients.reads[0], keys, valueGradient] + decay + [reads, gradients.writes[0]]
    case .delta:
      // r = −βk, source = βv
      for t in 0..<count {
        let (key, value) = (t * k, t * v)
        betaGradient[t] =
          kernels.dot(v, tokens.tokens.values + value, found + value)
          - kernels.dot(k, tokens.tokens.keys + key, reads + key)
        kernels.axpy(k, -tokens.beta[t], reads + key, keys + key)
      }
      kernels.scale_rows(count, v, tokens.beta, 1, found, v)
      return [gradients.reads[0], keys, found] + decay + [betaGradient]
    default:
      kernels.scale(count * k, -1, reads)
      return [gradients.reads[0], keys, found] + decay + [reads]
    }
  }
}
