import AttentionCPUKernels
import AttentionTensors

/// The erasing recurrence of one sequence and head, forward in chunks: with u as ``ErasingChunk``
/// solves it and A the scores of the queries,
///
///     O = (q e^G) h + A u ,   h' = e^γ h + (z e^(γ − G))ᵀ u
///
/// and for a low rank the same once more for k and v beside z and u.
final class ErasingForward {
  private let chunk: ErasingChunk
  private let product: PanelProduct
  private let scratch: Scratch
  /// [k, v]
  private let state: Panels
  /// [64, v]
  private let solution: Panels
  /// [64, v]
  private let output: UnsafeMutablePointer<Float>

  /// Floats of working memory.
  static func size(_ problem: LinearProblem, tile: Int) -> Int {
    ErasingChunk.size(problem, tile: tile)
      + ownSize(problem.keyDimension, problem.valueDimension, tile: tile)
  }

  private static func ownSize(_ k: Int, _ v: Int, tile: Int) -> Int {
    Panels.size(rows: k + ChunkScores.length, columns: v, tile: tile) + ChunkScores.length * v
  }

  init(_ reader: ErasingReader, _ product: PanelProduct) throws {
    self.product = product
    chunk = try ErasingChunk(reader, product)
    let (k, v) = (reader.tokens.keyDimension, reader.tokens.valueDimension)
    let tile = product.kernels.tile_columns
    scratch = try Scratch(floats: Self.ownSize(k, v, tile: tile))
    state = Panels(rows: k, columns: v, tile: tile, base: scratch.base)
    solution = Panels(
      rows: ChunkScores.length, columns: v, tile: tile, base: scratch.base + state.size)
    output = solution.base + solution.size
  }

  /// Runs over `pieces` and writes the output rows of each.
  ///
  /// - Parameter finalState: `[k, v]`: the initial state, and afterwards the final one.
  func run(
    _ pieces: [RecurrenceReader.Piece], _ finalState: UnsafeMutablePointer<Float>,
    to target: TokenRowsOutput
  ) {
    let (k, v) = (state.rows, state.columns)
    product.pack(finalState, row: v, column: 1, rows: k, columns: v, into: state)
    for (index, piece) in pieces.enumerated() {
      let count = piece.count
      chunk.tokens.tokens.loadQueries(piece)
      chunk.tokens.loadWrites(piece)
      target.ask(row: piece.row, tokens: piece.tokens, head: piece.head)
      chunk.tokens.ask(index + 1 < pieces.count ? pieces[index + 1] : nil)
      chunk.score(count, withQueries: true)
      chunk.tokens.tokens.advance()
      chunk.solve(count, state, into: solution)
      chunk.tokens.tokens.advance()
      product.multiply(
        .rows(chunk.scores.reads[0].rows, k), state, rows: count, columns: v, depth: 0..<k,
        into: output, stride: v, adds: false)
      for (write, written) in chunk.written(solution).enumerated() {
        addScores(chunk.scores.scores(0, write), written, count)
      }
      chunk.tokens.tokens.advance()
      target.store(row: piece.row, tokens: piece.tokens, head: piece.head, from: output)
      chunk.update(state, count, solution)
    }
    product.unpack(state, into: finalState)
  }

  /// Adds scores · written to the output.
  private func addScores(_ scores: UnsafePointer<Float>, _ written: Panels, _ count: Int) {
    for block in ChunkScores.blocks(count) {
      let first = block.tokens.lowerBound
      product.multiply(
        .rows(scores + first * ChunkScores.length, ChunkScores.length), written,
        rows: block.tokens.count, columns: written.columns, depth: 0..<block.tokens.upperBound,
        into: output + first * written.columns, stride: written.columns, adds: true)
    }
  }
}
