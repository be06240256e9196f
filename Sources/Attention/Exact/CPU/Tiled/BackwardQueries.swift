import AttentionCLibrary
import AttentionCPUKernels
import AttentionTensors

/// What a backward pass reads of the forward pass and of the incoming gradients.
struct BackwardSources: Sendable {
  /// O and dO
  let outputRows, gradientRows: HeadRows
  /// [b,h,t]
  let logSumExp: Tensor
  let logSumExpGradient: Tensor?

  init(
    _ inputs: ExactArguments, _ outputs: ExactOutputs, _ outputGradient: Tensor,
    _ logSumExpGradient: Tensor?
  ) throws {
    let type = inputs.dtype.floatType ?? CPU_F32
    outputRows = try HeadRows(outputs.output, type)
    gradientRows = try HeadRows(outputGradient, type)
    logSumExp = try outputs.logSumExp.contiguous()
    self.logSumExpGradient = try logSumExpGradient?.cast(to: .float32).contiguous()
  }
}

/// What a backward pass works with of the queries' side, block by block, prepared once: operands,
/// the log-sum-exp and δ. And what it makes of them in the end.
struct BackwardQueries: Sendable {
  /// The number of blocks of all heads and sequences.
  let blocks: Int
  private let inputs: ExactArguments
  private let tile: TileShape
  private let kernels: cpu_kernels
  private let queryRows: HeadRows
  private let operandFloats: Int
  private let memory: Scratch
  /// Not zero for blocks with a row whose log-sum-exp is large.
  private let largeSums: Scratch
  /// Not zero for blocks in which something is NaN or infinite.
  private let unfit: Scratch
  private let segments: Range<Int>
  private let heads: Range<Int>
  /// The number of query blocks of the segments before each.
  private let firstBlocks: [Int]
  private let places: [(segment: Int, start: Int)]

  /// - Parameters:
  ///   - segments: the sequences whose queries these are.
  ///   - heads: their heads.
  ///   - operandFloats: memory for the operands of a block.
  init(
    _ inputs: ExactArguments, tile: TileShape, segments: Range<Int>, heads: Range<Int>,
    operandFloats: Int, kernels: cpu_kernels
  ) throws {
    self.inputs = inputs
    self.tile = tile
    self.kernels = kernels
    self.operandFloats = operandFloats
    self.segments = segments
    self.heads = heads
    queryRows = try HeadRows(inputs.queries, inputs.dtype.floatType ?? CPU_F32)
    var firstBlocks: [Int] = []
    var places: [(segment: Int, start: Int)] = []
    for index in segments {
      firstBlocks.append(places.count)
      places += stride(from: 0, to: inputs.segments[index].queryCount, by: tile.queries).map {
        (index, $0)
      }
    }
    self.firstBlocks = firstBlocks
    self.places = places
    blocks = places.count * heads.count
    memory = try Scratch(floats: blocks * (operandFloats + BackwardBlock.numbers * tile.queries))
    largeSums = try Scratch(floats: blocks)
    unfit = try Scratch(floats: blocks)
  }

  /// The block of `head` whose first query is `start` (counted in the segment).
  func block(segment: Int, head: Int, start: Int) -> BackwardBlock {
    block(
      (head - heads.lowerBound) * places.count + firstBlocks[segment - segments.lowerBound]
        + start / tile.queries)
  }

  /// Blocks of a head lie one behind the other, as a task goes through them.
  private func block(_ index: Int) -> BackwardBlock {
    let (head, place) = (heads.lowerBound + index / places.count, index % places.count)
    let (segment, start) = places[place]
    let base = memory.base + index * (operandFloats + BackwardBlock.numbers * tile.queries)
    let numbers = base + operandFloats
    return BackwardBlock(
      index: index, segment: segment, head: head,
      rows: start..<min(start + tile.queries, inputs.segments[segment].queryCount), memory: base,
      logSumExp: numbers, delta: numbers + tile.queries, offset: numbers + 2 * tile.queries,
      shareOfSink: numbers + 3 * tile.queries, hasOffsets: largeSums.base[index] != 0,
      isUnfit: unfit.base[index] != 0)
  }

  /// The blocks that have a row whose log-sum-exp is large.
  var blocksOfLargeSums: [BackwardBlock] {
    (0..<blocks).filter { largeSums.base[$0] != 0 }.map(block)
  }

  /// Reads all blocks.
  func prepare(_ sources: BackwardSources, _ operands: some BackwardOperands) throws {
    let problem = inputs.problem
    try Threads.tryForEach(blocks) { index in
      let block = block(index)
      let segment = inputs.segments[block.segment]
      let (m, v) = (block.rows.count, problem.valueDimension)
      let start = segment.queryStart + block.rows.lowerBound
      try operands.readQueries(block)
      let scratch = try Scratch(floats: 2 * m * v)
      let (o, g) = (scratch.base, scratch.base + m * v)
      sources.outputRows.read(
        batch: segment.batch, head: block.head, start: start, count: m, into: o, kernels)
      sources.gradientRows.read(
        batch: segment.batch, head: block.head, start: start, count: m, into: g, kernels)
      let first = (segment.batch * problem.heads + block.head) * problem.queryLength + start
      for r in 0..<m { block.delta[r] = kernels.dot(v, o + r * v, g + r * v) }
      try sources.logSumExpGradient?.withUnsafePointer(to: Float.self) {
        for r in 0..<m { block.delta[r] -= $0[first + r] }
      }
      let sink = inputs.sink(head: block.head)
      try sources.logSumExp.withUnsafePointer(to: Float.self) { lse in
        for r in 0..<m {
          let sum = lse[first + r]
          let isLarge = BackwardBlock.isLarge(sum)
          // A large one is found later; its product here might be infinite, as that of rows that see nothing.
          block.logSumExp[r] = isLarge ? 0 : sum == -.infinity ? .infinity : sum * logTwoOfE
          block.offset[r] = isLarge ? .nan : 0
          // An infinite sink has all of an infinite sum, and none of an empty one.
          block.shareOfSink[r] =
            sum == -.infinity
            ? 0 : sink.map { $0 == sum ? 1 : exp2($0 * logTwoOfE - block.logSumExp[r]) } ?? 0
        }
      }
      unfit.base[index] = 0
      if inputs.hidesPairs {
        try judge(block, outputs: o, gradients: g, sources.logSumExpGradient, first: first)
      }
      largeSums.base[index] = (0..<m).contains { block.offset[$0].isNaN } ? 1 : 0
    }
  }

  /// Notes whether a block is unfit. In one that is, a query whose gradients are all zero counts like one
  /// that sees nothing; and an output of zero takes nothing to δ of a gradient that is not finite: it
  /// may be that of a query that sees a sink only.
  private func judge(
    _ block: BackwardBlock, outputs o: UnsafePointer<Float>, gradients g: UnsafePointer<Float>,
    _ logSumExpGradient: Tensor?, first: Int
  ) throws {
    let segment = inputs.segments[block.segment]
    let (m, v) = (block.rows.count, inputs.problem.valueDimension)
    let areFinite =
      kernels.rows_are_finite(CPU_F32, 1, m, block.delta, 0) != 0
      && (0..<m).allSatisfy { !block.logSumExp[$0].isNaN }
      && kernels.rows_are_finite(CPU_F32, m, v, g, v) != 0
      && queryRows.areFinite(
        batch: segment.batch, head: block.head, start: segment.queryStart + block.rows.lowerBound,
        count: m, kernels)
    guard !areFinite else { return }
    unfit.base[block.index] = 1
    let sumGradients = try logSumExpGradient?.hostElements()
    for r in 0..<m {
      let less = sumGradients?.base.assumingMemoryBound(to: Float.self)[first + r] ?? 0
      if isZero(o + r * v, v) { block.delta[r] = -less }
      let isSilent = less == 0 && isZero(g + r * v, v)
      if isSilent { (block.logSumExp[r], block.offset[r]) = (.infinity, 0) }
      // Of a row that sees nothing a sink has no share; an infinite one has all of it.
      let isEmpty = block.logSumExp[r] == .infinity && block.shareOfSink[r] == 0
      if isSilent || isEmpty { block.delta[r] = 0 }
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
  func finish(
    _ partial: UnsafePointer<Float>, slots: Int, _ operands: some BackwardOperands,
    _ targets: BackwardTargets
  ) throws {
    let (d, heads) = (inputs.problem.keyDimension, inputs.problem.heads)
    let scaleSums = try Scratch(floats: blocks)
    try Threads.tryForEach(blocks) { index in
      scaleSums.base[index] = try finish(
        block(index), partial + index * tile.queries * (d + 1), slots: slots, operands, targets)
    }
    for segment in segments {
      for head in self.heads {
        var (scale, sink) = (0.0, 0.0)
        for start in stride(from: 0, to: inputs.segments[segment].queryCount, by: tile.queries) {
          let block = block(segment: segment, head: head, start: start)
          scale += Double(scaleSums.base[block.index])
          if inputs.hasSink { sink += sinkGradient(block) }
        }
        targets.scaleSums[segment * heads + head] = Float(scale)
        targets.sumsOfSink[segment * heads + head] = Float(sink)
      }
    }
  }

  /// One block; returns its share of the scale's gradient.
  private func finish(
    _ block: BackwardBlock, _ partial: UnsafePointer<Float>, slots: Int,
    _ operands: some BackwardOperands, _ targets: BackwardTargets
  ) throws -> Float {
    let problem = inputs.problem
    let (d, heads, t) = (problem.keyDimension, problem.heads, problem.queryLength)
    let segment = inputs.segments[block.segment]
    let (m, blockSize) = (block.rows.count, tile.queries * (d + 1))
    let scratch = try Scratch(floats: tile.queries * (4 * d + 1))
    let (total, q) = (scratch.base, scratch.base + blockSize)
    let (lengths, sum) = (q + tile.queries * d, q + tile.queries * 2 * d)
    total.update(from: partial, count: blockSize)
    for slot in 1..<max(1, slots) {
      kernels.axpy(blockSize, 1, partial + slot * blocks * blockSize, total)
    }
    operands.rows(total, count: m, into: sum)
    readQueries(block, into: q, lengths: lengths)
    if inputs.hidesPairs {
      clearUntouched(
        q, lengths, gradients: sum, count: m, width: d, groups: inputs.normalizedGroups)
    }
    let scaleSum = kernels.dot(m * d, q, sum)
    kernels.scale(m * d, inputs.scale[block.head], sum)
    if let groups = inputs.normalizedGroups {
      kernels.unit_slices_backward(m, d, groups, q, lengths, sum, sum)
    }
    let first = segment.queryStart + block.rows.lowerBound
    let rowBytes = d * MemoryLayout<Float>.size
    let target = targets.dq + ((segment.batch * t + first) * heads + block.head) * d
    kernels.prefetch(m, rowBytes, target, heads * rowBytes, 1)
    for r in 0..<m { (target + r * heads * d).update(from: sum + r * d, count: d) }
    if inputs.decaySums != nil {
      (targets.rowSums + (segment.batch * heads + block.head) * t + first).update(
        from: total + tile.queries * d, count: m)
    }
    return scaleSum
  }

  /// A sink takes a share of the softmax's sum and brings no value: its gradient is −Σ share · δ.
  private func sinkGradient(_ block: BackwardBlock) -> Double {
    (0..<block.rows.count).reduce(0.0) {
      $0 - Double(block.shareOfSink[$1]) * Double(block.delta[$1])
    }
  }
}
