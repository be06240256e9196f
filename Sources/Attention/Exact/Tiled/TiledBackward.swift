import CPUKernels
import Tensors

/// The backward pass of ``TiledExactKernel``: five products a tile.
///
///     P = exp(S − lse) ,  dP = dO Vᵀ ,  dS = P ∘ (dP − δ) ,  δ = rowsum(dO ∘ O) − d lse
///     dV = Pᵀ dO ,  dK = dSᵀ Q ,  dQ = dS K
///
/// A task owns blocks of keys, so dK and dV have one writer. dQ is summed in
/// ``TileShape/slots`` partial sums that are added in order: the same bits with any number of
/// threads.
struct TiledBackward {
  let inputs: ExactInputs
  let type: cpu_float_type
  let tile: TileShape
  let kernels: cpu_kernels
  let scores: ScoreTile
  let queries: BackwardQueries
  let keyRows: HeadRows
  let valueRows: HeadRows

  init(
    _ inputs: ExactInputs, _ outputs: ExactOutputs, outputGradient: Tensor?,
    logSumExpGradient: Tensor?
  ) throws {
    self.inputs = inputs
    let type = inputs.dtype.floatType ?? CPU_F32
    self.type = type
    tile = TileShape(inputs.problem)
    kernels = InstructionSet.current.kernels
    scores = ScoreTile(inputs: inputs, kernels: kernels)
    keyRows = try HeadRows(inputs.keys, type)
    valueRows = try HeadRows(inputs.values, type)
    queries = try BackwardQueries(
      inputs, outputs, outputGradient: outputGradient, logSumExpGradient: logSumExpGradient,
      tile: tile, kernels: kernels)
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
    let sums = try queries.finish(partial.base, slots: tile.slots)
    return ExactGradients(
      queries: sums.queries, keys: keyGradient!, values: valueGradient, scale: sums.scale,
      bias: problem.needsBiasGradient ? try BiasGradient(self).run() : nil,
      logitDecay: inputs.decaySums == nil
        ? nil : try decayGradient(rowSums: sums.rowSums, columnSums: columnSums.base),
      sinks: try inputs.sinks.map(queries.sinkGradient))
  }

  /// From S to P and dS for one tile. `s` holds Q Kᵀ and becomes P; `ds` becomes dS before the cap's
  /// share; `capped`, if scores are capped, keeps what ``uncap(_:_:rows:columns:)`` needs.
  func weights(
    _ block: BackwardQueries.Block, columns: Range<Int>, keys: UnsafePointer<Float>,
    values: UnsafePointer<Float>, s: UnsafeMutablePointer<Float>,
    ds: UnsafeMutablePointer<Float>, capped: UnsafeMutablePointer<Float>
  ) {
    let problem = inputs.problem
    let (d, v, t) = (problem.keyDimension, problem.valueDimension, kernels.tile_columns)
    let (m, n) = (block.rows.count, columns.count)
    kernels.product(m, n, d, block.queries, d, 1, keys, d * t, s, tile.keys, t, 0)
    scores.apply(
      inputs.segments[block.segment], head: block.head, rows: block.rows, columns: columns, s,
      stride: tile.keys, capped: scores.caps ? capped : nil)
    kernels.product(m, n, v, block.gradients, v, 1, values, v * t, ds, tile.keys, t, 0)
    kernels.softmax_gradient(m, n, s, ds, tile.keys, logTwoOfE, block.logSumExp, block.delta)
  }

  /// The share of the cap in dS.
  func uncap(
    _ ds: UnsafeMutablePointer<Float>, _ capped: UnsafePointer<Float>, rows: Int, columns: Int
  ) {
    if let cap = inputs.softcap {
      kernels.softcap_backward(rows, columns, capped, ds, tile.keys, cap)
    }
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
