import CPUKernels
import Tensors

/// The backward pass of ``TiledExactKernel`` in one arithmetic: five products a tile.
///
///     P = exp(S − lse) ,  dP = dO Vᵀ ,  dS = P ∘ (dP − δ) ,  δ = rowsum(dO ∘ O) − d lse
///     dV = Pᵀ dO ,  dK = dSᵀ Q ,  dQ = dS K
///
/// A task owns blocks of keys, so dK and dV have one writer. dQ is summed in
/// ``TileShape/slots`` partial sums that are added in order: the same bits with any number of
/// threads.
struct TiledBackward<Operands: BackwardOperands>: Sendable {
  let inputs: ExactInputs
  let tile: TileShape
  let kernels: cpu_kernels
  let scores: ScoreTile
  let operands: Operands
  let queries: BackwardQueries

  init(
    _ inputs: ExactInputs, _ outputs: ExactOutputs, outputGradient: Tensor?,
    logSumExpGradient: Tensor?
  ) throws {
    let gradient = try (outputGradient ?? .zeros(outputs.output.shape)).cast(to: inputs.dtype)
    self.inputs = inputs
    tile = TileShape(inputs.problem)
    kernels = InstructionSet.current.kernels
    scores = ScoreTile(inputs: inputs, kernels: kernels)
    operands = try Operands(inputs, outputGradient: gradient, tile: tile, kernels)
    queries = try BackwardQueries(
      inputs, tile: tile, operandFloats: operands.queryFloats, kernels: kernels)
    try queries.prepare(outputs, gradient, logSumExpGradient, operands)
  }

  func run() throws -> ExactGradients {
    let problem = inputs.problem
    let (d, v) = (problem.keyDimension, problem.valueDimension)
    let partial = try Scratch(floats: tile.slots * queries.blocks * tile.queries * (d + 1))
    let columnSums = try Scratch(
      floats: inputs.decaySums == nil ? 0 : problem.batch * problem.heads * problem.keyLength)
    var keyGradient: Tensor?
    let keyHeads = problem.keyValueHeads
    let valueGradient = try Tensor.filling(
      [problem.batch, problem.keyLength, keyHeads, v], as: Float.self
    ) { dv in
      keyGradient = try Tensor.filling(
        [problem.batch, problem.keyLength, keyHeads, d], as: Float.self
      ) { dk in
        try Threads.tryForEach(inputs.segments.count * keyHeads * tile.slots) { task in
          let slot = task % tile.slots
          try KeyTask(
            self, segment: task / tile.slots / keyHeads, keyHead: task / tile.slots % keyHeads,
            partial: partial.base + slot * queries.blocks * tile.queries * (d + 1),
            columnSums: columnSums.base, dk: dk, dv: dv
          ).run(slot: slot)
        }
      }
    }
    let sums = try queries.finish(partial.base, slots: tile.slots, operands)
    return ExactGradients(
      queries: sums.queries, keys: keyGradient!, values: valueGradient, scale: sums.scale,
      bias: problem.needsBiasGradient ? try BiasGradient(self).run() : nil,
      logitDecay: inputs.decaySums == nil
        ? nil : try decayGradient(rowSums: sums.rowSums, columnSums: columnSums.base),
      sinks: try inputs.sinks.map(queries.sinkGradient))
  }

  /// One tile: weights, and their gradient dS as it is before the cap's share.
  func weights(_ block: BackwardBlock, _ keys: BackwardKeys) {
    let factor = operands.similarity(block, keys, isFinal: !scores.addsTerms)
    scores.apply(
      inputs.segments[block.segment], head: block.head, rows: block.rows, columns: keys.columns,
      keys.scores, stride: tile.queries, isTransposed: true,
      capped: inputs.softcap == nil ? nil : keys.capped)
    operands.weights(block, keys, factor: factor)
  }

  /// The memory of a task for blocks of keys.
  func keyMemory() throws -> Scratch {
    let problem = inputs.problem
    return try Scratch(
      floats: operands.keyFloats
        + tile.keys * (3 * tile.queries + problem.keyDimension + problem.valueDimension))
  }

  /// A block of keys in `memory`, read and with its sums cleared.
  func keys(_ memory: Scratch, segment: Int, head: Int, columns: Range<Int>) throws -> BackwardKeys
  {
    let problem = inputs.problem
    let scores = memory.base + operands.keyFloats
    let size = tile.keys * tile.queries
    let keys = BackwardKeys(
      segment: segment, head: head, columns: columns, memory: memory.base, scores: scores,
      gradient: scores + size, capped: scores + 2 * size, dk: scores + 3 * size,
      dv: scores + 3 * size + tile.keys * problem.keyDimension)
    try operands.readKeys(keys)
    keys.dk.update(repeating: 0, count: columns.count * problem.keyDimension)
    keys.dv.update(repeating: 0, count: columns.count * problem.valueDimension)
    return keys
  }

  /// The logit decay of token t is in the running sums of all later tokens: its gradient is the sum,
  /// over them, of what they get as queries minus what they give as keys.
  private func decayGradient(rowSums: [Float], columnSums: UnsafePointer<Float>) throws -> Tensor {
    let problem = inputs.problem
    let (t, heads) = (problem.queryLength, problem.heads)
    var gradient = [Float](repeating: 0, count: problem.batch * t * heads)
    for segment in inputs.segments {
      for head in 0..<heads {
        let base = (segment.batch * heads + head) * t
        var total = 0.0
        for i in (segment.queryStart..<segment.queryStart + segment.queryCount).reversed() {
          total += Double(rowSums[base + i]) - Double(columnSums[base + i])
          gradient[(segment.batch * t + i) * heads + head] = Float(total)
        }
      }
    }
    return try Tensor(gradient, [problem.batch, t, heads])
  }
}
