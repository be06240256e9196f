import CPUKernels
import Tensors

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
  private let output: UnsafeMutablePointer<Float>

  /// Floats of working memory.
  static func size(_ problem: LinearProblem, tile: Int) -> Int {
    let (k, v, length) = (problem.keyDimension, problem.valueDimension, ChunkScores.length)
    return ChunkTokens.size(length, keyDimension: k, valueDimension: v)
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
    tokens = try ChunkTokens(reader, length: ChunkScores.length)
    scores = try ChunkScores(product, keyDimension: k, isByChannel: reader.decayIsByChannel)
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
  /// - Parameter finalState: [k, v]: the initial state, and afterwards the final one.
  func run(
    _ pieces: [RecurrenceReader.Piece], _ finalState: UnsafeMutablePointer<Float>,
    to target: TokenRowsOutput
  ) {
    let (k, v) = (state.rows, state.columns)
    product.packSums(finalState, row: v, column: 1, rows: k, columns: v, into: state)
    for (index, piece) in pieces.enumerated() {
      let count = piece.count
      tokens.loadQueries(piece)
      tokens.loadWrites(piece)
      if index + 1 < pieces.count { tokens.reader.prefetch(pieces[index + 1]) }
      target.prefetch(row: piece.row, tokens: piece.tokens, head: piece.head)
      scores.compute(count, reads: [tokens.queries], writes: [tokens.keys], tokens.decay)
      product.pack(tokens.values, row: v, column: 1, rows: count, columns: v, into: values)
      product.multiply(
        left(.rows(scores.reads[0].rows, k), count, k), product.operand(of: state, in: stateRoom),
        rows: count, columns: v, depth: 0..<k, into: output, stride: v, adds: false)
      let pairs = left(.rows(scores.scores(0, 0), ChunkScores.length), count, count)
      for block in ChunkScores.blocks(count) {
        let first = block.tokens.lowerBound
        product.multiply(
          pairs.dropping(rows: first), values, rows: block.tokens.count, columns: v,
          depth: 0..<block.tokens.upperBound, into: output + first * v, stride: v, adds: true)
      }
      target.store(row: piece.row, tokens: piece.tokens, head: piece.head, from: output)
      scores.decayState(state)
      product.multiply(
        left(.transposed(scores.writes[0].rows, k), k, count), values, depth: count,
        addingTo: state)
    }
    product.unpack(state, into: finalState)
  }

  private func left(_ a: LeftOperand, _ rows: Int, _ depth: Int) -> LeftOperand {
    product.left(a, rows: rows, depth: depth, in: leftRoom)
  }
}
