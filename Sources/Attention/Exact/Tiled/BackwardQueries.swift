import CPUKernels
import Glibc
import Tensors

/// What a backward pass reads of the queries' side, block by block, prepared once: the scaled
/// queries and the incoming gradients in float32, each also packed as a right operand, the
/// log-sum-exp and δ.
struct BackwardQueries: Sendable {
  /// One block of queries of one head of one sequence.
  struct Block {
    let index: Int
    let segment: Int
    let head: Int
    /// Counted in the sequence.
    let rows: Range<Int>
    /// scale · q (normalised): [rows, k]
    let queries: UnsafePointer<Float>
    let packedQueries: UnsafePointer<Float>
    /// dO: [rows, v]
    let gradients: UnsafePointer<Float>
    let packedGradients: UnsafePointer<Float>
    /// In base 2; +∞ where nothing was seen, so that every weight becomes zero.
    let logSumExp: UnsafePointer<Float>
    let delta: UnsafePointer<Float>
  }

  /// The number of blocks of all heads and sequences.
  let blocks: Int
  private let inputs: ExactInputs
  private let tile: TileShape
  private let kernels: cpu_kernels
  private let queryRows: HeadRows
  private let memory: Scratch
  private let layout: Layout
  /// The number of query blocks of the segments before each.
  private let firstBlocks: [Int]
  private let places: [(segment: Int, start: Int)]

  init(
    _ inputs: ExactInputs, _ outputs: ExactOutputs, outputGradient: Tensor?,
    logSumExpGradient: Tensor?, tile: TileShape, kernels: cpu_kernels
  ) throws {
    self.inputs = inputs
    self.tile = tile
    self.kernels = kernels
    let type = inputs.dtype.floatType ?? CPU_F32
    queryRows = try HeadRows(inputs.queries, type)
    var firstBlocks: [Int] = []
    var places: [(segment: Int, start: Int)] = []
    for (index, segment) in inputs.segments.enumerated() {
      firstBlocks.append(places.count)
      places += stride(from: 0, to: segment.queryCount, by: tile.queries).map { (index, $0) }
    }
    self.firstBlocks = firstBlocks
    self.places = places
    blocks = places.count * inputs.problem.heads
    layout = Layout(inputs.problem, tile: tile, panel: kernels.tile_columns)
    memory = try Scratch(floats: blocks * layout.size)
    try prepare(outputs, outputGradient, logSumExpGradient, type)
  }

  /// The block of `head` whose first query is `start` (counted in the segment).
  func block(segment: Int, head: Int, start: Int) -> Block {
    block(place: firstBlocks[segment] + start / tile.queries, head: head)
  }

  private func block(place: Int, head: Int) -> Block {
    let (segment, start) = places[place]
    let index = place * inputs.problem.heads + head
    let base = UnsafePointer(memory.base + index * layout.size)
    return Block(
      index: index, segment: segment, head: head,
      rows: start..<min(start + tile.queries, inputs.segments[segment].queryCount),
      queries: base, packedQueries: base + layout.packedQueries,
      gradients: base + layout.gradients, packedGradients: base + layout.packedGradients,
      logSumExp: base + layout.logSumExp, delta: base + layout.delta)
  }

  private func prepare(
    _ outputs: ExactOutputs, _ outputGradient: Tensor?, _ logSumExpGradient: Tensor?,
    _ type: cpu_float_type
  ) throws {
    let problem = inputs.problem
    let shape: Shape = [problem.batch, problem.queryLength, problem.heads, problem.valueDimension]
    let outputRows = try HeadRows(outputs.output, type)
    let gradientRows = try HeadRows(
      (outputGradient ?? .zeros(shape)).cast(to: .float32), CPU_F32)
    let lse = try outputs.logSumExp.elements(as: Float.self)
    let lseGradient = try logSumExpGradient?.elements(as: Float.self)
    try Threads.tryForEach(blocks) { index in
      let block = block(place: index / problem.heads, head: index % problem.heads)
      let segment = inputs.segments[block.segment]
      let (m, v) = (block.rows.count, problem.valueDimension)
      let start = segment.queryStart + block.rows.lowerBound
      let q = UnsafeMutablePointer(mutating: block.queries)
      let g = UnsafeMutablePointer(mutating: block.gradients)
      let scratch = try Scratch(floats: tile.queries * max(problem.keyDimension, v))
      readQueries(block, into: q, lengths: scratch.base)
      kernels.scale(m * problem.keyDimension, inputs.scale[block.head], q)
      gradientRows.read(
        batch: segment.batch, head: block.head, start: start, count: m, into: g, kernels)
      pack(q, rows: m, columns: problem.keyDimension, block.packedQueries)
      pack(g, rows: m, columns: v, block.packedGradients)
      outputRows.read(
        batch: segment.batch, head: block.head, start: start, count: m, into: scratch.base,
        kernels)
      let first = (segment.batch * problem.heads + block.head) * problem.queryLength + start
      let delta = UnsafeMutablePointer(mutating: block.delta)
      let sums = UnsafeMutablePointer(mutating: block.logSumExp)
      for r in 0..<m {
        delta[r] =
          kernels.dot(v, scratch.base + r * v, g + r * v) - (lseGradient?[first + r] ?? 0)
        sums[r] = lse[first + r] == -.infinity ? .infinity : lse[first + r] * logTwoOfE
      }
    }
  }

  /// The block's queries, normalised where the similarity asks for it, not scaled.
  private func readQueries(
    _ block: Block, into q: UnsafeMutablePointer<Float>, lengths: UnsafeMutablePointer<Float>
  ) {
    let segment = inputs.segments[block.segment]
    queryRows.read(
      batch: segment.batch, head: block.head, start: segment.queryStart + block.rows.lowerBound,
      count: block.rows.count, into: q, kernels)
    if let groups = inputs.normalizedGroups {
      kernels.unit_slices(
        block.rows.count, queryRows.dimension, groups, Similarity.shortestSlice, q, q, lengths)
    }
  }

  private func pack(
    _ rows: UnsafePointer<Float>, rows count: Int, columns: Int, _ panels: UnsafePointer<Float>
  ) {
    kernels.pack(
      count, columns, rows, columns, 1, UnsafeMutablePointer(mutating: panels),
      tile.queries * kernels.tile_columns)
  }

  /// Adds the partial sums Σ dS K of the slots and carries them back to the queries as they came.
  func finish(_ partial: UnsafePointer<Float>, slots: Int) throws -> (
    queries: Tensor, scale: Tensor, rowSums: [Float]
  ) {
    let problem = inputs.problem
    let (d, heads, t) = (problem.keyDimension, problem.heads, problem.queryLength)
    let blockSize = tile.queries * (d + 1)
    let rowSums = try Scratch(floats: problem.batch * heads * t)
    let scaleSums = try Scratch(floats: blocks)
    let gradient = try Tensor.filling([problem.batch, t, heads, d], as: Float.self) { target in
      try Threads.tryForEach(blocks) { index in
        let block = block(place: index / heads, head: index % heads)
        let segment = inputs.segments[block.segment]
        let m = block.rows.count
        let scratch = try Scratch(floats: tile.queries * 3 * d + tile.queries)
        let (sum, q) = (scratch.base, scratch.base + tile.queries * (d + 1))
        let lengths = q + tile.queries * d
        sum.update(repeating: 0, count: blockSize)
        for slot in 0..<slots {
          kernels.axpy(blockSize, 1, partial + (slot * blocks + index) * blockSize, sum)
        }
        readQueries(block, into: q, lengths: lengths)
        scaleSums.base[index] = kernels.dot(m * d, q, sum)
        kernels.scale(m * d, inputs.scale[block.head], sum)
        if let groups = inputs.normalizedGroups {
          kernels.unit_slices_backward(m, d, groups, q, lengths, sum, sum)
        }
        let first = segment.queryStart + block.rows.lowerBound
        for r in 0..<m {
          let place = (segment.batch * t + first + r) * heads + block.head
          (target + place * d).update(from: sum + r * d, count: d)
          rowSums.base[(segment.batch * heads + block.head) * t + first + r] =
            sum[tile.queries * d + r]
        }
      }
    }
    var scale = [Double](repeating: 0, count: heads)
    for index in 0..<blocks { scale[index % heads] += Double(scaleSums.base[index]) }
    return (
      gradient, try Tensor(scale.map { Float($0) }),
      Array(UnsafeBufferPointer(start: rowSums.base, count: problem.batch * heads * t))
    )
  }

  /// A sink takes a share of the softmax's sum and brings no value: its gradient is −Σ share · δ.
  func sinkGradient(_ sinks: [Float]) throws -> Tensor {
    var gradient = [Double](repeating: 0, count: inputs.problem.heads)
    for index in 0..<blocks {
      let block = block(place: index / inputs.problem.heads, head: index % inputs.problem.heads)
      for r in 0..<block.rows.count {
        gradient[block.head] -=
          exp2(Double(sinks[block.head] * logTwoOfE - block.logSumExp[r])) * Double(block.delta[r])
      }
    }
    return try Tensor(gradient.map { Float($0) })
  }

  /// Where the parts of a block lie in its memory, in floats.
  private struct Layout {
    let packedQueries: Int
    let gradients: Int
    let packedGradients: Int
    let logSumExp: Int
    let delta: Int
    let size: Int

    init(_ problem: ExactProblem, tile: TileShape, panel: Int) {
      let padded = { (width: Int) in (width + panel - 1) / panel * panel }
      packedQueries = tile.queries * problem.keyDimension
      gradients = packedQueries + tile.queries * padded(problem.keyDimension)
      packedGradients = gradients + tile.queries * problem.valueDimension
      logSumExp = packedGradients + tile.queries * padded(problem.valueDimension)
      delta = logSumExp + tile.queries
      size = delta + tile.queries
    }
  }
}
