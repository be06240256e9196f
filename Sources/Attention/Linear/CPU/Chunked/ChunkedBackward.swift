import AttentionCPUKernels
import AttentionTensors

/// The gradients of the additive recurrence of one sequence and head, chunk by chunk from the last.
///
/// First the states before each chunk are computed anew and kept, so memory grows with the number
/// of chunks. Then, with h the state before a chunk, dh' the gradient of the state after it, and
/// q̃ = q e^G, k̃ = k e^(γ − G):
///
///     dA  = tril(dO vᵀ)
///     dv  = Aᵀ dO + k̃ dh'
///     dq  = (dO hᵀ) e^G        + the share of dA
///     dk  = (v dh'ᵀ) e^(γ − G)  + the share of dA
///     dh  = e^γ dh' + q̃ᵀ dO
///
/// The gradient of the decay's logarithm at t counts everything that passes t: from the state to
/// queries i ≥ t, from keys j < t to the state, from state to state, and from keys j < t to queries
/// i ≥ t of the chunk.
final class ChunkedBackward {
  typealias Piece = RecurrenceReader.Piece
  typealias Rows = UnsafeMutablePointer<Float>

  /// Where the gradients go.
  struct Targets {
    let queries, keys, values: TokenRowsOutput
    let decay: TokenRowsOutput?

    var writes: [TokenRowsOutput] { [keys, values] + [decay].compactMap { $0 } }
  }

  let tokens: ChunkTokens
  let scores: ChunkScores
  let product: PanelProduct
  let kernels: cpu_kernels
  let (k, v): (Int, Int)
  private let scratch: Scratch
  /// The transposed states before each chunk as operands, [v, k] each.
  private let states: [Panels]
  /// hᵀ [v, k], while the states are computed.
  private let runningState: Panels
  /// [k, v]: dh' as an operand, where that is not dh' itself.
  private let stateGradientRoom: Panels
  /// Rooms for left operands: the first for dO while others come and go.
  private let outputGradientRoom, leftRoom: Rows
  /// dh' [k, v], and its transpose.
  private let stateGradient, transposedStateGradient: Panels
  /// dO [64, v]
  private(set) var outputGradient: Rows
  private let packedOutputGradient: Panels
  /// vᵀ [v, 64]
  private let transposedValues: Panels
  /// Rows of k packed for a product, [64, k].
  let packedRows: Panels
  /// dA [64, 64]
  let scoreGradient: Rows
  /// [64, k] each: what flows through the state, then all.
  let queryGradient, keyGradient: Rows
  /// [64, k] each: what flows between different tokens of the chunk, decays by channel only.
  let queryPairs, keyPairs: Rows
  /// [64, v]
  private let valueGradient: Rows
  /// [64, 1 or k]
  let decayGradient: Rows
  /// [k]: from the state before to the state after the chunk.
  let through: Rows
  /// Working memory of loops, [65, k].
  let work: Rows

  init(_ reader: RecurrenceReader, _ product: PanelProduct, chunks: Int) throws {
    self.product = product
    kernels = product.kernels
    let (k, v) = (reader.keyDimension, reader.valueDimension)
    (self.k, self.v) = (k, v)
    let length = ChunkScores.length
    let tile = kernels.tile_columns
    tokens = try ChunkTokens(reader, length: length, looksAhead: true)
    scores = try ChunkScores(product, keyDimension: k, decayWidth: reader.decayWidth)
    scratch = try Scratch(
      floats: Self.ownSize(
        k, v, tile: tile, chunks: chunks, areRounded: product.roundsOperands))
    var next = scratch.base
    func take(_ count: Int) -> Rows {
      defer { next += count }
      return next
    }
    func panels(_ rows: Int, _ columns: Int) -> Panels {
      let room = Panels(rows: rows, columns: columns, tile: tile, base: next)
      next += room.size
      return room
    }
    let stateSize = Self.operandSize(v, k, tile: tile, isRounded: product.roundsOperands)
    let firstState = take(stateSize * chunks)
    states = (0..<chunks).map {
      Panels(rows: v, columns: k, tile: tile, base: firstState + $0 * stateSize)
    }
    runningState = panels(v, k)
    stateGradientRoom = panels(k + k % 2, v).resized(rows: k)
    stateGradient = panels(k, v)
    transposedStateGradient = panels(v + v % 2, k).resized(rows: v)
    packedOutputGradient = panels(length, v)
    transposedValues = panels(v + v % 2, length).resized(rows: v)
    packedRows = panels(length, k)
    scoreGradient = take(length * length)
    outputGradient = take(length * v)
    valueGradient = take(length * v)
    queryGradient = take(length * k)
    keyGradient = take(length * k)
    queryPairs = take(length * k)
    keyPairs = take(length * k)
    decayGradient = take(length * k)
    through = take(k)
    work = take((length + 1) * k)
    outputGradientRoom = take(PanelProduct.leftSize(rows: length, depth: v))
    leftRoom = take(Self.leftSize(k, v))
  }

  /// Floats of working memory for pieces of `tokens`.
  static func size(_ problem: LinearProblem, _ product: PanelProduct, length tokens: Int) -> Int {
    let (k, v, length) = (problem.keyDimension, problem.valueDimension, ChunkScores.length)
    let tile = product.kernels.tile_columns
    return ChunkTokens.size(length, keyDimension: k, valueDimension: v)
      + ChunkTokens.aheadSize(length, problem, incoming: true)
      + ChunkScores.size(keyDimension: k, tile: tile)
      + ownSize(
        k, v, tile: tile, chunks: (tokens + length - 1) / length,
        areRounded: product.roundsOperands)
  }

  private static func ownSize(
    _ k: Int, _ v: Int, tile: Int, chunks: Int, areRounded: Bool
  ) -> Int {
    let length = ChunkScores.length
    let (evenK, evenV) = (k + k % 2, v + v % 2)
    let panels =
      operandSize(v, k, tile: tile, isRounded: areRounded) * chunks
      + Panels.size(rows: v + evenV, columns: k, tile: tile)
      + Panels.size(rows: k + evenK, columns: v, tile: tile)
      + Panels.size(rows: length, columns: v, tile: tile)
      + Panels.size(rows: evenV, columns: length, tile: tile)
      + Panels.size(rows: length, columns: k, tile: tile)
    return panels + length * (length + 2 * v + 6 * k) + 2 * k
      + PanelProduct.leftSize(rows: length, depth: v) + leftSize(k, v)
  }

  /// Floats of a state as an operand.
  private static func operandSize(_ rows: Int, _ columns: Int, tile: Int, isRounded: Bool) -> Int {
    isRounded
      ? Panels.pairSize(rows: rows, columns: columns, tile: tile)
      : Panels.size(rows: rows, columns: columns, tile: tile)
  }

  /// Floats of the room for any left operand: tokens by channels, or channels or tokens by tokens.
  private static func leftSize(_ k: Int, _ v: Int) -> Int {
    let widest = max(k, v, ChunkScores.length)
    return PanelProduct.leftSize(rows: widest, depth: ChunkScores.length)
      + PanelProduct.leftSize(rows: ChunkScores.length, depth: widest)
  }

  /// Runs over `pieces` from the last and writes the gradients of each.
  ///
  /// - Parameters:
  ///   - initialState: `[k, v]`
  ///   - gradient: `[k, v]`: that of the final state, and afterwards that of the initial state.
  ///   - incoming: the gradient of the output, dO.
  ///   - bonus: what an update that reads before it writes adds.
  ///   - targets: where the gradients go.
  func run(
    _ pieces: [Piece], initialState: UnsafePointer<Float>, gradient: Rows, incoming: TokenRows,
    bonus: TokenBonus?, to targets: Targets
  ) throws {
    try tokens.addIncoming(incoming)
    computeStates(pieces, initialState)
    product.packSums(gradient, row: v, column: 1, rows: k, columns: v, into: stateGradient)
    for (index, piece) in pieces.enumerated().reversed() {
      tokens.loadQueries(piece)
      tokens.loadWrites(piece)
      tokens.loadIncoming(piece, into: &outputGradient)
      tokens.askAll(index > 0 ? pieces[index - 1] : nil)
      targets.queries.ask(row: piece.row, tokens: piece.reading, head: piece.head)
      for target in targets.writes {
        target.ask(row: piece.row, tokens: piece.tokens, head: piece.head)
      }
      differentiate(piece.count, states[index])
      bonus?.addToQueries(piece, outputGradient: outputGradient, to: queryGradient)
      bonus?.addToWrites(
        piece, keys: tokens.keys, values: tokens.values, incoming: incoming,
        keyGradient: keyGradient, valueGradient: valueGradient)
      tokens.reader.backward(
        piece.count, tokens, queryGradient: queryGradient, keyGradient: keyGradient,
        scratch: work)
      targets.queries.store(
        row: piece.row, tokens: piece.reading, head: piece.head, from: queryGradient)
      for (target, rows) in zip(targets.writes, [keyGradient, valueGradient, decayGradient]) {
        target.store(row: piece.row, tokens: piece.tokens, head: piece.head, from: rows)
      }
    }
    product.unpack(stateGradient, into: gradient)
  }

  /// hᵀ before each chunk.
  private func computeStates(_ pieces: [Piece], _ initialState: UnsafePointer<Float>) {
    guard let first = states.first else { return }
    var state = product.roundsOperands ? runningState : first
    product.packSums(initialState, row: 1, column: v, rows: v, columns: k, into: state)
    for (index, piece) in pieces.enumerated() {
      if product.roundsOperands { _ = product.operand(of: state, in: states[index]) }
      guard index + 1 < pieces.count else { return }
      tokens.loadWrites(piece)
      tokens.askWrites(pieces[index + 1])
      scores.decayWrites(piece.count, [tokens.keys], tokens.decay)
      let next = product.roundsOperands ? runningState : states[index + 1]
      scores.decayTransposedState(state, into: next)
      state = next
      pack(scores.writes[0].rows, piece.count)
      product.multiply(
        left(.transposed(tokens.values, v), v, piece.count), packedRows, depth: piece.count,
        addingTo: state, between: tokens.advance)
    }
  }

  /// The gradients of a chunk of `count` tokens whose state before it was `state`, transposed.
  private func differentiate(_ count: Int, _ state: Panels) {
    let length = ChunkScores.length
    product.packTransposed(stateGradient, into: transposedStateGradient)
    product.pack(
      outputGradient, row: v, column: 1, rows: count, columns: v, into: packedOutputGradient)
    product.pack(
      tokens.values, row: 1, column: v, rows: v, columns: count, into: transposedValues)

    // dA = dO vᵀ, whole panels as far as each band of queries sees.
    let incoming = product.left(
      .rows(outputGradient, v), rows: count, depth: v, in: outputGradientRoom)
    let tile = transposedValues.tile
    for first in stride(from: 0, to: count, by: tile) {
      product.multiply(
        incoming.dropping(rows: first), transposedValues, rows: min(tile, count - first),
        columns: min(count, first + tile), depth: 0..<v, into: scoreGradient + first * length,
        stride: length, adds: false)
    }
    scores.compute(count, reads: [tokens.queries], writes: [tokens.keys], tokens.decay)
    tokens.advance()

    // dv = k̃ dh' + Aᵀ dO
    product.multiply(
      left(.rows(scores.writes[0].rows, k), count, k),
      product.operand(of: stateGradient, in: stateGradientRoom), rows: count, columns: v,
      depth: 0..<k, into: valueGradient, stride: v, adds: false)
    let seen = left(.transposed(scores.scores(0, 0), length), count, count)
    for block in ChunkScores.blocks(count) {
      let first = block.tokens.lowerBound
      product.multiply(
        seen.dropping(rows: first), packedOutputGradient, rows: block.tokens.count, columns: v,
        depth: first..<count, into: valueGradient + first * v, stride: v, adds: true)
    }

    tokens.advance()

    // dq = (dO hᵀ) e^G and dk = (v dh'ᵀ) e^(γ − G)
    product.multiply(
      incoming, state, rows: count, columns: k, depth: 0..<v, into: queryGradient, stride: k,
      adds: false)
    tokens.advance()
    product.multiply(
      left(.rows(tokens.values, v), count, v), transposedStateGradient, rows: count, columns: k,
      depth: 0..<v, into: keyGradient, stride: k, adds: false)
    if scores.decays {
      let byChannel: Int32 = scores.isByChannel ? 1 : 0
      kernels.decay_from_start(
        count, k, queryGradient, tokens.decay, byChannel, queryGradient, work)
      kernels.decay_to_end(count, k, keyGradient, tokens.decay, byChannel, keyGradient, work)
      product.dots(state, transposedStateGradient, into: through)
    }

    if scores.isByChannel {
      addPairsByChannel(count)
    } else {
      addPairs(count)
    }

    // dh = e^γ dh' + q̃ᵀ dO
    tokens.advance()
    scores.decayState(stateGradient)
    product.multiply(
      left(.transposed(scores.reads[0].rows, k), k, count), packedOutputGradient, depth: count,
      addingTo: stateGradient)
  }

  /// A matrix of `rows` by `depth` as a left operand, until the next.
  func left(_ a: LeftOperand, _ rows: Int, _ depth: Int) -> LeftOperand {
    product.left(a, rows: rows, depth: depth, in: leftRoom)
  }

  /// Packs `count` rows of k as a right operand.
  func pack(_ rows: UnsafePointer<Float>, _ count: Int) {
    product.pack(rows, row: k, column: 1, rows: count, columns: k, into: packedRows)
  }
}
