import AttentionCPUKernels
import AttentionTensors

/// One task of the backward pass: some key blocks of one key/value head of one sequence, with all
/// queries that attend to them. Writes dK and dV of its keys and adds to its own partial sum of dQ.
struct KeyTask<Operands: BackwardOperands> {
  private let pass: TiledBackward<Operands>
  private let queries: BackwardQueries
  private let segment: Int
  private let keyHead: Int
  /// For each block of queries the sum of dQ, then [queries] row sums of dS.
  private let partial: UnsafeMutablePointer<Float>
  private let targets: BackwardTargets
  private let memory: Scratch
  private let keyRows: HeadRows

  init(
    _ pass: TiledBackward<Operands>, _ queries: BackwardQueries, segment: Int, keyHead: Int,
    partial: UnsafeMutablePointer<Float>, _ targets: BackwardTargets
  ) throws {
    self.pass = pass
    self.queries = queries
    self.segment = segment
    self.keyHead = keyHead
    self.partial = partial
    self.targets = targets
    memory = try pass.keyMemory()
    keyRows = try HeadRows(pass.inputs.keys, pass.inputs.dtype.floatType ?? CPU_F32)
  }

  private var heads: Range<Int> {
    let count = pass.inputs.headsPerGroup
    return keyHead * count..<(keyHead + 1) * count
  }

  private var partialSize: Int { pass.tile.queries * (pass.inputs.problem.keyDimension + 1) }

  func run(slot: Int) throws {
    let segment = pass.inputs.segments[segment]
    let tile = pass.tile
    for head in heads {
      for start in stride(from: 0, to: segment.queryCount, by: tile.queries) {
        let block = queries.block(segment: self.segment, head: head, start: start)
        (partial + block.index * partialSize).update(repeating: 0, count: partialSize)
      }
    }
    // Blocks are assigned round-robin: under a causal mask more queries attend to the earlier ones.
    for start in stride(
      from: slot * tile.keys, to: segment.keyCount, by: tile.keys * tile.slots)
    {
      try run(columns: start..<min(start + tile.keys, segment.keyCount))
    }
  }

  private func run(columns: Range<Int>) throws {
    let (inputs, tile, kernels) = (pass.inputs, pass.tile, pass.kernels)
    let segment = inputs.segments[segment]
    let keys = try pass.keys(memory, segment: self.segment, head: keyHead, columns: columns)
    for head in heads {
      let sums =
        targets.columnSums + (segment.batch * inputs.problem.heads + head)
        * inputs.problem.keyLength
        + segment.keyStart + columns.lowerBound
      if inputs.decaySums != nil { sums.update(repeating: 0, count: columns.count) }
      let visible =
        try inputs.leavesKeys(segment, columns)
        ? segment.band.visibleQueries(columns: columns, queries: segment.queryCount) : 0..<0
      for start in stride(
        from: visible.lowerBound / tile.queries * tile.queries, to: visible.upperBound,
        by: tile.queries)
      {
        let block = queries.block(segment: self.segment, head: head, start: start)
        let m = block.rows.count
        let target = partial + block.index * partialSize
        let selects = pass.weights(block, keys)
        if inputs.decaySums != nil {
          let rowSums = target + tile.queries * inputs.problem.keyDimension
          for c in 0..<columns.count {
            sums[c] += kernels.sum(m, keys.gradient + c * tile.queries)
            kernels.axpy(m, 1, keys.gradient + c * tile.queries, rowSums)
          }
        }
        pass.scores.throughCap(
          columns.count, m, keys.capped, keys.gradient, stride: tile.queries)
        if selects {
          try pass.accumulateSelected(block, keys, queryGradient: target)
        } else {
          pass.operands.accumulate(block, keys, queryGradient: target)
        }
      }
    }
    try finish(keys)
  }

  /// Backpropagates the keys' gradient through their normalisation and writes the block's rows.
  private func finish(_ keys: BackwardKeys) throws {
    let (inputs, kernels) = (pass.inputs, pass.kernels)
    let segment = inputs.segments[segment]
    let (d, v, n) = (keyRows.dimension, inputs.problem.valueDimension, keys.columns.count)
    let start = segment.keyStart + keys.columns.lowerBound
    if let groups = inputs.normalizedGroups {
      let scratch = try Scratch(floats: 2 * n * d)
      let (rows, lengths) = (scratch.base, scratch.base + n * d)
      keyRows.read(
        batch: segment.batch, head: keyHead, start: start, count: n, into: rows, kernels)
      kernels.unit_slices(n, d, groups, Similarity.shortestSlice, rows, rows, lengths)
      if inputs.hidesPairs {
        clearUntouched(rows, lengths, gradients: keys.dk, count: n, width: d, groups: groups)
      }
      kernels.unit_slices_backward(n, d, groups, rows, lengths, keys.dk, keys.dk)
    }
    let heads = inputs.problem.keyValueHeads
    let first = (segment.batch * inputs.problem.keyLength + start) * heads + keyHead
    for (target, sums, width) in [(targets.dk, keys.dk, d), (targets.dv, keys.dv, v)] {
      let bytes = width * MemoryLayout<Float>.size
      kernels.prefetch(n, bytes, target + first * width, heads * bytes, 1)
      for c in 0..<n {
        (target + (first + c * heads) * width).update(from: sums + c * width, count: width)
      }
    }
  }
}
