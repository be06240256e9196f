import AttentionCPUKernels
import AttentionTensors

/// One chunk of an erasing recurrence: what its tokens write, once the state before it is known.
///
/// What a token writes depends on what all tokens before it wrote. With r, z and source as
/// ``ErasingReader`` has them, L_ij = Σ_d r_id z_jd e^(G_id − G_jd) for j < i (at G − g for a low
/// rank) and h the state before the chunk,
///
///     u = source + (r e^G) h + L u ,   so   (1 − L) u = source + (r e^G) h
///
/// solved forward block by block. For a low rank, source is M v with M_ij the same sum over r and k.
final class ErasingChunk {
  let tokens: ErasingTokens
  let scores: ChunkScores
  let product: PanelProduct
  private let scratch: Scratch
  private let kernels: cpu_kernels
  private let (k, v): (Int, Int)
  /// [64, v]: v, low rank only.
  private let packedValues: Panels

  static func size(_ problem: LinearProblem, tile: Int) -> Int {
    let (k, v, length) = (problem.keyDimension, problem.valueDimension, ChunkScores.length)
    return ErasingTokens.size(length, keyDimension: k, valueDimension: v)
      + ChunkTokens.aheadSize(length, problem, incoming: problem.needsGradient)
      + ChunkScores.size(
        keyDimension: k, tile: tile, reads: 2, writes: problem.update == .lowRank ? 2 : 1)
      + Panels.size(rows: length, columns: v, tile: tile)
  }

  init(_ reader: ErasingReader, _ product: PanelProduct) throws {
    self.product = product
    kernels = product.kernels
    let (k, v, length) = (
      reader.tokens.keyDimension, reader.tokens.valueDimension, ChunkScores.length
    )
    (self.k, self.v) = (k, v)
    tokens = try ErasingTokens(reader, kernels, length: length, looksAhead: true)
    scores = try ChunkScores(
      product, keyDimension: k, decayWidth: reader.tokens.decayWidth, reads: reader.reads,
      writes: reader.writes)
    let tile = kernels.tile_columns
    scratch = try Scratch(floats: Panels.size(rows: length, columns: v, tile: tile))
    packedValues = Panels(rows: length, columns: v, tile: tile, base: scratch.base)
  }

  /// What is written with each of ``ErasingTokens/writes``: u, and the values beside it.
  func written(_ solution: Panels) -> [Panels] {
    tokens.reader.isLowRank ? [solution, packedValues] : [solution]
  }

  /// Computes the scores of loaded tokens.
  ///
  /// - Parameter withQueries: whether those of the queries are computed too.
  func score(_ count: Int, withQueries: Bool) {
    scores.compute(
      count, reads: tokens.reads, writes: tokens.writes, tokens.tokens.decay,
      from: withQueries ? 0 : 1)
  }

  /// Computes u into `solution` [64, v], after the scores.
  ///
  /// - Parameter state: `[k, v]`: before the chunk.
  func solve(_ count: Int, _ state: Panels, into solution: Panels) {
    let read = scores.reads[1]
    let blocks = ChunkScores.blocks(count)
    if tokens.reader.isLowRank {
      product.pack(
        tokens.tokens.values, row: v, column: 1, rows: count, columns: v, into: packedValues)
    } else {
      product.pack(tokens.sources, row: v, column: 1, rows: count, columns: v, into: solution)
    }
    product.multiply(
      .rows(read.rows, k), state, depth: 0..<k, into: solution, rows: 0..<count,
      adds: !tokens.reader.isLowRank)
    if tokens.reader.isLowRank {
      multiplyScores(scores.scores(1, 1), packedValues, blocks, into: solution)
    }
    let lower = scores.scores(1, 0)
    for block in blocks {
      let (first, rows) = (block.tokens.lowerBound, block.tokens.count)
      product.multiply(
        .rows(lower + first * ChunkScores.length, ChunkScores.length), solution, depth: 0..<first,
        into: solution, rows: block.tokens, adds: true)
      solve(lower + first * (ChunkScores.length + 1), solution, first, rows, transposed: false)
    }
  }

  /// Solves (1 − L)ᵀ x = b in place.
  func solveTransposed(_ count: Int, _ solution: Panels) {
    let lower = scores.scores(1, 0)
    for block in ChunkScores.blocks(count).reversed() {
      let (first, end) = (block.tokens.lowerBound, block.tokens.upperBound)
      product.multiply(
        .transposed(lower + first, ChunkScores.length), solution, depth: end..<count,
        into: solution, rows: block.tokens, adds: true)
      solve(
        lower + first * (ChunkScores.length + 1), solution, first, block.tokens.count,
        transposed: true)
    }
  }

  /// The diagonal block of L from row `first` on.
  private func solve(
    _ lower: UnsafePointer<Float>, _ solution: Panels, _ first: Int, _ rows: Int, transposed: Bool
  ) {
    for panel in solution.panels {
      kernels.solve_lower(
        rows, solution.tile, lower, ChunkScores.length, transposed ? 1 : 0,
        panel.base + first * solution.tile, solution.tile)
    }
  }

  /// target += scores · written, block by block as far as each sees.
  private func multiplyScores(
    _ scores: UnsafePointer<Float>, _ written: Panels, _ blocks: [ChunkScores.Block],
    into target: Panels
  ) {
    for block in blocks {
      product.multiply(
        .rows(scores + block.tokens.lowerBound * ChunkScores.length, ChunkScores.length), written,
        depth: 0..<block.tokens.upperBound, into: target, rows: block.tokens, adds: true)
    }
  }

  /// h = e^γ h + Σ over what is written of (z e^(γ − G))ᵀ u.
  func update(_ state: Panels, _ count: Int, _ solution: Panels) {
    scores.decayState(state)
    for (write, written) in zip(scores.writes, written(solution)) {
      product.multiply(.transposed(write.rows, k), written, depth: count, addingTo: state)
    }
  }
}
