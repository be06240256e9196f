import CPUKernels
import Glibc
import Tensors

/// What a backward pass reads of the queries' side, block by block, prepared once: operands, the
/// log-sum-exp and δ. And what it makes of them in the end.
struct BackwardQueries: Sendable {
  /// The number of blocks of all heads and sequences.
  let blocks: Int
  private let inputs: ExactInputs
  private let tile: TileShape
  private let kernels: cpu_kernels
  private let queryRows: HeadRows
  private let operandFloats: Int
  private let memory: Scratch
  /// The number of query blocks of the segments before each.
  private let firstBlocks: [Int]
  private let places: [(segment: Int, start: Int)]

  /// - Parameter operandFloats: memory for the operands of a block.
  init(_ inputs: ExactInputs, tile: TileShape, operandFloats: Int, kernels: cpu_kernels) throws {
    self.inputs = inputs
    self.tile = tile
    self.kernels = kernels
    self.operandFloats = operandFloats
    queryRows = try HeadRows(inputs.queries, inputs.dtype.floatType ?? CPU_F32)
    var firstBlocks: [Int] = []
    var places: [(segment: Int, start: Int)] = []
    for (index, segment) in inputs.segments.enumerated() {
      firstBlocks.append(places.count)
      places += stride(from: 0, to: segment.queryCount, by: tile.queries).map { (index, $0) }
    }
    self.firstBlocks = firstBlocks
    self.places = places
    blocks = places.count * inputs.problem.heads
    memory = try Scratch(floats: blocks * (operandFloats + 2 * tile.queries))
  }

  /// The block of `head` whose first query is `start` (counted in the segment).
  func block(segment: Int, head: Int, start: Int) -> BackwardBlock {
    block(head * places.count + firstBlocks[segment] + start / tile.queries)
  }

  /// Blocks of a head lie one behind the other, as a task goes through them.
  private func block(_ index: Int) -> BackwardBlock {
    let (head, place) = (index / places.count, index % places.count)
    let (segment, start) = places[place]
    let base = memory.base + index * (operandFloats + 2 * tile.queries)
    return BackwardBlock(
      index: index, segment: segment, head: head,
      rows: start..<min(start + tile.queries, inputs.segments[segment].queryCount), memory: base,
      logSumExp: base + operandFloats, delta: base + operandFloats + tile.queries)
  }

  func prepare(
    _ outputs: ExactOutputs, _ outputGradient: Tensor, _ logSumExpGradient: Tensor?,
    _ operands: some BackwardOperands
  ) throws {
    let problem = inputs.problem
    let type = problem.dtype.floatType ?? CPU_F32
    let outputRows = try HeadRows(outputs.output, type)
    let gradientRows = try HeadRows(outputGradient, type)
    let lse = try outputs.logSumExp.elements(as: Float.self)
    let lseGradient = try logSumExpGradient?.elements(as: Float.self)
    try Threads.tryForEach(blocks) { index in
      let block = block(index)
      let segment = inputs.segments[block.segment]
      let (m, v) = (block.rows.count, problem.valueDimension)
      let start = segment.queryStart + block.rows.lowerBound
      try operands.readQueries(block)
      let scratch = try Scratch(floats: 2 * m * v)
      let (o, g) = (scratch.base, scratch.base + m * v)
      outputRows.read(
        batch: segment.batch, head: block.head, start: start, count: m, into: o, kernels)
      gradientRows.read(
        batch: segment.batch, head: block.head, start: start, count: m, into: g, kernels)
      let first = (segment.batch * problem.heads + block.head) * problem.queryLength + start
      for r in 0..<m {
        block.delta[r] = kernels.dot(v, o + r * v, g + r * v) - (lseGradient?[first + r] ?? 0)
        block.logSumExp[r] =
          lse[first + r] == -.infinity ? .infinity : lse[first + r] * logTwoOfE
      }
    }
  }

  /// The block's queries as rows, normalised where the similarity asks for it, not scaled.
  private func readQueries(
    _ block: BackwardBlock, into q: UnsafeMutablePointer<Float>,
    lengths: UnsafeMutablePointer<Float>
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

  /// Adds the partial sums Σ dS K of the slots and carries them back to the queries as they came.
  func finish(_ partial: UnsafePointer<Float>, slots: Int, _ operands: some BackwardOperands) throws
    -> (queries: Tensor, scale: Tensor, rowSums: [Float])
  {
    let problem = inputs.problem
    let (d, heads, t) = (problem.keyDimension, problem.heads, problem.queryLength)
    let blockSize = tile.queries * (d + 1)
    let rowSums = try Scratch(floats: problem.batch * heads * t)
    let scaleSums = try Scratch(floats: blocks)
    let gradient = try Tensor.filling([problem.batch, t, heads, d], as: Float.self) { target in
      try Threads.tryForEach(blocks) { index in
        let block = block(index)
        let segment = inputs.segments[block.segment]
        let m = block.rows.count
        let scratch = try Scratch(floats: tile.queries * (4 * d + 1))
        let (total, q) = (scratch.base, scratch.base + tile.queries * (d + 1))
        let (lengths, sum) = (q + tile.queries * d, q + tile.queries * 2 * d)
        total.update(repeating: 0, count: blockSize)
        for slot in 0..<slots {
          kernels.axpy(blockSize, 1, partial + (slot * blocks + index) * blockSize, total)
        }
        operands.rows(total, count: m, into: sum)
        readQueries(block, into: q, lengths: lengths)
        scaleSums.base[index] = kernels.dot(m * d, q, sum)
        kernels.scale(m * d, inputs.scale[block.head], sum)
        if let groups = inputs.normalizedGroups {
          kernels.unit_slices_backward(m, d, groups, q, lengths, sum, sum)
        }
        let first = segment.queryStart + block.rows.lowerBound
        let rowBytes = d * MemoryLayout<Float>.size
        kernels.prefetch(
          m, rowBytes, target + ((segment.batch * t + first) * heads + block.head) * d,
          heads * rowBytes, 1)
        for r in 0..<m {
          let place = (segment.batch * t + first + r) * heads + block.head
          (target + place * d).update(from: sum + r * d, count: d)
          rowSums.base[(segment.batch * heads + block.head) * t + first + r] =
            total[tile.queries * d + r]
        }
      }
    }
    var scale = [Double](repeating: 0, count: heads)
    for index in 0..<blocks { scale[block(index).head] += Double(scaleSums.base[index]) }
    return (
      gradient, try Tensor(scale.map { Float($0) }),
      Array(UnsafeBufferPointer(start: rowSums.base, count: problem.batch * heads * t))
    )
  }

  /// A sink takes a share of the softmax's sum and brings no value: its gradient is −Σ share · δ.
  func sinkGradient(_ sinks: [Float]) throws -> Tensor {
    var gradient = [Double](repeating: 0, count: inputs.problem.heads)
    for index in 0..<blocks {
      let block = block(index)
      for r in 0..<block.rows.count {
        gradient[block.head] -=
          exp2(Double(sinks[block.head] * logTwoOfE - block.logSumExp[r])) * Double(block.delta[r])
      }
    }
    return try Tensor(gradient.map { Float($0) })
  }
}
