import AttentionCPUKernels
import AttentionTensors

/// The additive recurrence of one sequence and head, forward in chunks:
///
///     O = (q e^G) h + A v ,   h' = e^γ h + (k e^(γ − G))ᵀ v
///
/// The state h lives in panels: it is the packed right operand of one product and the result of the
/// other.
final class ChunkedForward {
  private let tokens: ChunkTokens
  private let scores: ChunkScores
  private let product: PanelProduct
  private let scratch: Scratch
  /// [k, v]
  private let state: Panels
  /// [64, v]
  private let values: Panels
  /// [k, v]: the state as an operand, where that is not the state itself.
  private let stateRoom: Panels
  /// Room for a left operand.
  private let leftRoom: UnsafeMutablePointer<Float>
  /// [64, v]
  private var output: UnsafeMutablePointer<Float>

  /// Floats of working memory.
  static func size(_ problem: LinearProblem, tile: Int) -> Int {
    let (k, v, length) = (problem.keyDimension, problem.valueDimension, ChunkScores.length)
    return ChunkTokens.size(length, keyDimension: k, valueDimension: v)
      + ChunkTokens.aheadSize(length, problem)
      + ChunkScores.size(keyDimension: k, tile: tile) + ownSize(k, v, tile: tile)
  }

  private static func ownSize(_ k: Int, _ v: Int, tile: Int) -> Int {
    let length = ChunkScores.length
    return Panels.size(rows: k + length, columns: v, tile: tile)
      + Panels.pairSize(rows: k, columns: v, tile: tile) + length * v
      + PanelProduct.leftSize(rows: max(k, length), depth: max(k, length))
  }

  init(_ reader: RecurrenceReader, _ product: PanelProduct) throws {
    self.product = product
    let (k, v) = (reader.keyDimension, reader.valueDimension)
    let tile = product.kernels.tile_columns
    tokens = try ChunkTokens(reader, length: ChunkScores.length, looksAhead: true)
    scores = try ChunkScores(product, keyDimension: k, decayWidth: reader.decayWidth)
    scratch = try Scratch(floats: Self.ownSize(k, v, tile: tile))
    state = Panels(rows: k, columns: v, tile: tile, base: scratch.base)
    values = Panels(
      rows: ChunkScores.length, columns: v, tile: tile, base: scratch.base + state.size)
    output = values.base + values.size
    stateRoom = Panels(
      rows: k, columns: v, tile: tile, base: output + ChunkScores.length * v)
    leftRoom = stateRoom.base + Panels.pairSize(rows: k, columns: v, tile: tile)
  }

  /// Runs over `pieces` and writes the output rows of each.
  ///
  /// - Parameters:
  ///   - finalState: `[k, v]`: the initial state, and afterwards the final one.
  ///   - bonus: what an update that reads before it writes adds to the output.
  func run(
    _ pieces: [RecurrenceReader.Piece], _ finalState: UnsafeMutablePointer<Float>,
    bonus: TokenBonus?, to target: TokenRowsOutput
  ) {
    let v = state.columns
    packState(finalState)
    for (index, piece) in pieces.enumerated() {
      tokens.loadQueries(piece)
      tokens.loadWrites(piece)
      target.ask(row: piece.row, tokens: piece.reading, head: piece.head)
      tokens.askAll(next(index, of: pieces))
      scores.compute(piece.count, reads: [tokens.queries], writes: [tokens.keys], tokens.decay)
      product.pack(tokens.values, row: v, column: 1, rows: piece.count, columns: v, into: values)
      tokens.advance()
      read(piece.count)
      bonus?.add(piece, queries: tokens.queries, to: output)
      target.store(row: piece.row, tokens: piece.reading, head: piece.head, from: output)
      write(piece.count)
    }
    product.unpack(state, into: finalState)
  }

  /// The state behind `pieces`, without their output.
  ///
  /// - Parameter finalState: `[k, v]`: the state before them, and afterwards that behind them.
  func advance(
    _ pieces: [RecurrenceReader.Piece], _ finalState: UnsafeMutablePointer<Float>
  ) {
    let v = state.columns
    packState(finalState)
    for (index, piece) in pieces.enumerated() {
      tokens.loadWrites(piece)
      tokens.askWrites(next(index, of: pieces))
      scores.decayWrites(piece.count, [tokens.keys], tokens.decay)
      product.pack(tokens.values, row: v, column: 1, rows: piece.count, columns: v, into: values)
      write(piece.count)
    }
    product.unpack(state, into: finalState)
  }

  /// The gradient of the state before `pieces`, dh = e^γ dh' + (q e^G)ᵀ dO from the last chunk on,
  /// without other gradients.
  ///
  /// - Parameters:
  ///   - gradient: `[k, v]`: that of the state behind them, and afterwards that of the state before.
  ///   - incoming: the gradient of the output, dO.
  func retreat(
    _ pieces: [RecurrenceReader.Piece], _ gradient: UnsafeMutablePointer<Float>,
    incoming: TokenRows
  ) throws {
    let (k, v) = (state.rows, state.columns)
    try tokens.addIncoming(incoming)
    packState(gradient)
    for (index, piece) in pieces.enumerated().reversed() {
      let count = piece.count
      tokens.loadQueries(piece)
      tokens.loadDecay(piece)
      tokens.loadIncoming(piece, into: &output)
      tokens.askReads(index > 0 ? pieces[index - 1] : nil)
      scores.decayReads(count, [tokens.queries], tokens.decay, total: scores.total)
      product.pack(output, row: v, column: 1, rows: count, columns: v, into: values)
      scores.decayState(state)
      product.multiply(
        left(.transposed(scores.reads[0].rows, k), k, count), values, depth: count,
        addingTo: state, between: tokens.advance)
    }
    product.unpack(state, into: gradient)
  }

  private func next(
    _ index: Int, of pieces: [RecurrenceReader.Piece]
  ) -> RecurrenceReader.Piece? {
    index + 1 < pieces.count ? pieces[index + 1] : nil
  }

  private func packState(_ rows: UnsafePointer<Float>) {
    product.packSums(
      rows, row: state.columns, column: 1, rows: state.rows, columns: state.columns, into: state)
  }

  /// O = (q e^G) h + A v
  private func read(_ count: Int) {
    let (k, v) = (state.rows, state.columns)
    product.multiply(
      left(.rows(scores.reads[0].rows, k), count, k), product.operand(of: state, in: stateRoom),
      rows: count, columns: v, depth: 0..<k, into: output, stride: v, adds: false)
    tokens.advance()
    let pairs = left(.rows(scores.scores(0, 0), ChunkScores.length), count, count)
    for block in ChunkScores.blocks(count) {
      let first = block.tokens.lowerBound
      product.multiply(
        pairs.dropping(rows: first), values, rows: block.tokens.count, columns: v,
        depth: 0..<block.tokens.upperBound, into: output + first * v, stride: v, adds: true)
    }
  }

  /// h' = e^γ h + (k e^(γ − G))ᵀ v
  private func write(_ count: Int) {
    let k = state.rows
    scores.decayState(state)
    product.multiply(
      left(.transposed(scores.writes[0].rows, k), k, count), values, depth: count,
      addingTo: state, between: tokens.advance)
  }

  private func left(_ a: LeftOperand, _ rows: Int, _ depth: Int) -> LeftOperand {
    product.left(a, rows: rows, depth: depth, in: leftRoom)
  }
}
