import AttentionCLibrary
import AttentionCPUKernels
import AttentionTensors

/// The forward results and incoming gradients that a backward pass reads.
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

/// The queries' side of a backward pass, in blocks: operands, log-sum-exp and δ, prepared once, and at the
/// end the queries' gradients.
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
  /// Not zero for blocks with NaN or infinity.
  private let unfit: Scratch
  private let segments: Range<Int>
  private let heads: Range<Int>
  /// For each segment, the number of query blocks of those before it.
  private let firstBlocks: [Int]
  private let places: [(segment: Int, start: Int)]

  /// - Parameters:
  ///   - segments: the sequences of these queries.
  ///   - heads: their heads.
  ///   - operandFloats: floats for the operands of a block.
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

  /// The block of `head` whose first query is `start`, an index in the segment.
  func block(segment: Int, head: Int, start: Int) -> BackwardBlock {
    block(
      (head - heads.lowerBound) * places.count + firstBlocks[segment - segments.lowerBound]
        + start / tile.queries)
  }

  /// Blocks of a head are contiguous, in the order in which a task reads them.
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
          // A large one is resolved later; its base-2 value could overflow to the ∞ of an empty sum.
          block.logSumExp[r] = isLarge ? 0 : sum == -.infinity ? .infinity : sum * logTwoOfE
          block.offset[r] = isLarge ? .nan : 0
          // An infinite sink takes the whole of an infinite sum, and none of an empty one.
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

  /// Determines whether a block is unfit. In an unfit block, a query whose incoming gradients are all zero is
  /// treated as if all its keys were masked; and a zero output, which may be that of a query with a sink
  /// only, contributes nothing to δ even if its gradient is not finite.
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
      // In an empty row the sink's share is zero; with an infinite sink it is one.
      let isEmpty = block.logSumExp[r] == .infinity && block.shareOfSink[r] == 0
      if isSilent || isEmpty { block.delta[r] = 0 }
    }
  }

  /// Reads the block's queries, normalised for cosine similarity, not scaled.
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

  /// Adds the slots' partial sums Σ dS K and computes the gradients of the queries before normalisation.
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

  /// Finishes one block; returns its share of the scale's gradient.
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

  /// A sink has a share of the softmax's sum and no value, so its gradient is −Σ share · δ.
  private func sinkGradient(_ block: BackwardBlock) -> Double {
    (0..<block.rows.count).reduce(0.0) {
      $0 - Double(block.shareOfSink[$1]) * Double(block.delta[$1])
    }
  }
}
