import AttentionCPUKernels
import AttentionTensors

/// One chunk of a recurrence: given the state h before it, what its tokens write, what queries
/// find, and the state after it. With rows and names as in ``ChunkShape`` and ``ChunkScores``,
///
///     O = (q e^G) h + A u ,   h' = e^γ h + Σ over writes of (z e^(γ − G))ᵀ u
///
/// A and L are the scores of q and of r. If tokens erase, what one writes depends on what all
/// tokens before it wrote:
///
///     u = source + (r e^G) h + L u ,   so   (1 − L) u = source + (r e^G) h
///
/// solved forward block by block. For a low rank, source is M v with M the scores of r and k.
///
/// Backward, dh' is the gradient of the state after the chunk and f that of what a read found, dO for
/// queries:
///
///     du = Σ over reads of Sᵀ f + (z e^(γ − G)) dh' ,   dh = e^γ dh' + Σ over reads of (x e^G)ᵀ f
///
/// and for r, (1 − L)ᵀ f = du without its own share.
final class Chunk {
  typealias Rows = UnsafeMutablePointer<Float>

  let shape: ChunkShape
  let tokens: ChunkTokens
  let scores: ChunkScores
  let product: PanelProduct
  private let kernels: cpu_kernels
  private let (k, v): (Int, Int)
  /// v [64, v], if values are written.
  private let values: Panels
  /// u [64, v] that is solved, and as an operand.
  let solution: Panels
  private let solutionRoom: Panels
  /// A state [k, v] as an operand.
  private let stateRoom: Panels
  /// dO [64, v]
  private let outputGradient: Panels
  /// f [64, v] of r, and as an operand.
  let found: Panels
  private let foundRoom: Panels

  /// - Parameter backward: whether gradients are propagated back over the chunk.
  init(_ shape: ChunkShape, backward: Bool, _ arena: inout Arena) {
    self.shape = shape
    kernels = shape.kernels
    (k, v) = (shape.k, shape.v)
    let length = ChunkScores.length
    tokens = ChunkTokens(
      shape, length: length, looksAhead: true, hasIncoming: backward, &arena)
    product = PanelProduct(shape, tokens.ahead, &arena)
    scores = ChunkScores(shape, product, &arena)
    let (solved, solvedBack) = (shape.erases ? length : 0, shape.erases && backward ? length : 0)
    values = arena.operand(shape.writesValues ? length : 0, v, shape)
    solution = arena.sums(solved, v, shape)
    solutionRoom = arena.rounded(solved, v, shape)
    stateRoom = arena.rounded(k, v, shape)
    outputGradient = arena.operand(backward ? length : 0, v, shape)
    found = arena.sums(solvedBack, v, shape)
    foundRoom = arena.rounded(solvedBack, v, shape)
  }

  /// Computes the scores of the loaded tokens.
  ///
  /// - Parameter withQueries: whether those of the queries are needed.
  func score(_ count: Int, withQueries: Bool) {
    scores.compute(
      count, reads: tokens.reads, writes: tokens.writes, tokens.decay, from: withQueries ? 0 : 1)
  }

  /// `sums` as the right operand that was rounded into `room`.
  private func rounded(_ sums: Panels, in room: Panels) -> Panels {
    shape.roundsOperands ? room : sums
  }

  /// What is written with each of ``ChunkTokens/writes``.
  private var written: [Panels] {
    let solved = rounded(solution, in: solutionRoom)
    return !shape.erases ? [values] : shape.writesValues ? [solved, values] : [solved]
  }

  private func left(_ a: LeftOperand, _ rows: Int, _ depth: Int) -> LeftOperand {
    product.left(a, rows: rows, depth: depth)
  }

  /// The scores of a read and a write as a left operand.
  private func seen(_ read: Int, _ write: Int, _ count: Int) -> LeftOperand {
    left(.rows(scores.scores(read, write), ChunkScores.length), count, count)
  }

  /// The transposed scores of a read and a write as a left operand.
  private func seenBack(_ read: Int, _ write: Int, _ count: Int) -> LeftOperand {
    left(.transposed(scores.scores(read, write), ChunkScores.length), count, count)
  }
}

extension Chunk {
  /// Finds what is written, after the scores.
  ///
  /// - Parameter state: `[k, v]`: before the chunk.
  func solve(_ count: Int, _ state: Panels) {
    if shape.writesValues {
      product.pack(tokens.values, row: v, column: 1, rows: count, columns: v, into: values)
    }
    guard shape.erases else { return }
    let hasSource = shape.readsValues && !shape.isLowRank
    if hasSource {
      product.packSums(
        tokens.sources, row: v, column: 1, rows: count, columns: v, into: solution)
    }
    product.multiply(
      left(.rows(scores.reads[1].rows, k), count, k), product.operand(of: state, in: stateRoom),
      rows: 0..<count, depth: 0..<k, into: .panels(solution), adds: hasSource)
    if shape.isLowRank, shape.writesValues {
      addSeen(seen(1, 1, count), values, count, into: .panels(solution))
    }
    let (lower, earlier) = (seen(1, 0, count), rounded(solution, in: solutionRoom))
    for block in ChunkScores.blocks(count) {
      product.multiply(
        lower, earlier, rows: block.tokens, depth: 0..<block.tokens.lowerBound,
        into: .panels(solution), adds: true)
      solve(block, solution, transposed: false)
      product.operand(of: solution, rows: block.tokens, in: solutionRoom)
    }
  }

  /// O [count, v], after ``solve(_:_:)`` of the same state.
  func read(_ count: Int, _ state: Panels, into output: Rows) {
    let state =
      shape.erases
      ? rounded(state, in: stateRoom) : product.operand(of: state, in: stateRoom)
    product.multiply(
      left(.rows(scores.reads[0].rows, k), count, k), state, rows: 0..<count, depth: 0..<k,
      into: .rows(output, v), adds: false)
    for (write, written) in written.enumerated() {
      addSeen(seen(0, write, count), written, count, into: .rows(output, v))
    }
  }

  /// h = e^γ h + Σ over writes of (z e^(γ − G))ᵀ u
  func write(_ count: Int, to state: Panels) {
    scores.decayState(state)
    for (write, written) in zip(scores.writes, written) {
      product.multiply(
        left(.transposed(write.rows, k), k, count), written, rows: 0..<k, depth: 0..<count,
        into: .panels(state), adds: true)
    }
  }

  /// target += scores · written, block by block, up to the last token that each block reads.
  private func addSeen(
    _ seen: LeftOperand, _ written: Panels, _ count: Int, into target: ProductTarget
  ) {
    for block in ChunkScores.blocks(count) {
      product.multiply(
        seen, written, rows: block.tokens, depth: 0..<block.tokens.upperBound, into: target,
        adds: true)
    }
  }

  /// Solves the diagonal block of L.
  private func solve(_ block: ChunkScores.Block, _ solution: Panels, transposed: Bool) {
    let first = block.tokens.lowerBound
    for panel in solution.panels {
      kernels.solve_lower(
        block.tokens.count, solution.tile, scores.scores(1, 0) + first * (ChunkScores.length + 1),
        ChunkScores.length, transposed ? 1 : 0, panel.base + first * solution.tile, solution.tile)
    }
  }
}

extension Chunk {
  /// Finds the gradients f of what reads found, after the scores.
  ///
  /// - Parameter stateGradient: dh' [k, v].
  func solveBack(_ count: Int, _ stateGradient: Panels) {
    product.pack(
      tokens.incoming, row: v, column: 1, rows: count, columns: v, into: outputGradient)
    product.operand(of: stateGradient, in: stateRoom)
    guard shape.erases else { return }
    addWritten(0, reads: 0..<1, count, stateGradient, into: .panels(found))
    let (lower, later) = (seenBack(1, 0, count), rounded(found, in: foundRoom))
    for block in ChunkScores.blocks(count).reversed() {
      product.multiply(
        lower, later, rows: block.tokens, depth: block.tokens.upperBound..<count,
        into: .panels(found), adds: true)
      solve(block, found, transposed: true)
      product.operand(of: found, rows: block.tokens, in: foundRoom)
    }
  }

  /// The gradient of values that are written, [count, v], after ``solveBack(_:_:)`` of the same state's.
  func differentiateValues(_ count: Int, _ stateGradient: Panels, into target: Rows) {
    addWritten(
      shape.writes - 1, reads: scores.reads.indices, count, stateGradient, into: .rows(target, v))
  }

  /// dh = e^γ dh' + Σ over reads of (x e^G)ᵀ f, after ``solveBack(_:_:)``.
  func readBack(_ count: Int, to stateGradient: Panels) {
    scores.decayState(stateGradient)
    for (read, found) in zip(scores.reads, gradients) {
      product.multiply(
        left(.transposed(read.rows, k), k, count), found, rows: 0..<k, depth: 0..<count,
        into: .panels(stateGradient), adds: true)
    }
  }

  /// f of each read.
  private var gradients: [Panels] {
    shape.erases
      ? [outputGradient, rounded(found, in: foundRoom)] : [outputGradient]
  }

  /// The gradient of what is written with row `write`, from what `reads` found and from the state's
  /// gradient.
  private func addWritten(
    _ write: Int, reads: Range<Int>, _ count: Int, _ stateGradient: Panels,
    into target: ProductTarget
  ) {
    product.multiply(
      left(.rows(scores.writes[write].rows, k), count, k),
      rounded(stateGradient, in: stateRoom), rows: 0..<count, depth: 0..<k, into: target,
      adds: false)
    for (read, found) in zip(reads, gradients) {
      let seen = seenBack(read, write, count)
      for block in ChunkScores.blocks(count) {
        product.multiply(
          seen, found, rows: block.tokens, depth: block.tokens.lowerBound..<count, into: target,
          adds: true)
      }
    }
  }
}
