import AttentionCLibrary
import AttentionCPUKernels
import AttentionTensors

/// The forward pass of ``TiledExactKernel`` in one arithmetic.
struct TiledForward<Operands: ForwardOperands> {
  private let inputs: ExactArguments
  private let tile: TileShape
  private let kernels: cpu_kernels
  private let scores: ScoreTile
  private let operands: Operands
  private let bound: LogitBound?

  init(_ inputs: ExactArguments) throws {
    self.inputs = inputs
    tile = TileShape(inputs.problem)
    kernels = InstructionSet.current.kernels
    scores = try ScoreTile(inputs, kernels)
    operands = try Operands(inputs, kernels)
    bound = try LogitBound(inputs, kernels)
  }

  func run() throws -> ExactOutputs {
    let problem = inputs.problem
    // The last blocks of a causal sequence have the most keys, so they come first.
    let tasks = inputs.segments.indices.flatMap { segment in
      stride(from: 0, to: inputs.segments[segment].queryCount, by: tile.queries).reversed()
        .flatMap { start in (0..<problem.heads).map { (segment, $0, start) } }
    }
    var logSumExp: Tensor?
    let output = try Tensor.fillingRows(
      [problem.batch, problem.queryLength, problem.heads, problem.valueDimension],
      dtype: problem.dtype, into: inputs.destinations.outputs[.output]
    ) { base, strides in
      let output = OutputRows(base: base, batch: strides[0], row: strides[1], head: strides[2])
      logSumExp = try Tensor.filling(
        [problem.batch, problem.heads, problem.queryLength], dtype: .float32,
        into: inputs.destinations.outputs[.logSumExp]
      ) { sums in
        let sums = sums.assumingMemoryBound(to: Float.self)
        try Threads.tryForEach(tasks.count) { task in
          let (segment, head, start) = tasks[task]
          try run(segment, head, start, output, sums)
        }
      }
    }
    return [.output: output, .logSumExp: logSumExp]
  }

  /// The output [b,t,h,v], with its strides in elements; rows are contiguous.
  private struct OutputRows {
    let base: UnsafeMutableRawPointer
    let batch, row, head: Int
  }

  /// The output of one block of queries of one head.
  private func run(
    _ index: Int, _ head: Int, _ start: Int, _ output: OutputRows,
    _ sums: UnsafeMutablePointer<Float>
  ) throws {
    let segment = inputs.segments[index]
    let rows = start..<min(start + tile.queries, segment.queryCount)
    let (v, m) = (inputs.problem.valueDimension, rows.count)
    let own = operands.blockFloats(rows: m, tileKeys: tile.keys)
    let scratch = try Scratch(floats: m * (tile.keys + v + 2) + own)
    let shift =
      try ScoreBound(inputs)?.shift(scale: inputs.scale[head]).map { $0 * logTwoOfE }
      ?? bound?.shift(index, head, rows)
    let o = scratch.base + m * tile.keys
    let block = ForwardBlock(
      segment: index, head: head, keyHead: head / inputs.headsPerGroup, rows: rows,
      tileKeys: tile.keys, shift: shift, scores: scratch.base, output: o, high: o + m * v,
      sum: o + m * (v + 1), memory: o + m * (v + 2))
    operands.readQueries(block)
    // A sink is a logit before the first key. It is a natural logarithm, so scores must be too.
    let sink = inputs.sink(head: head)
    let isFinal = !scores.addsTerms && sink == nil
    block.high.update(repeating: shift ?? sink ?? -.infinity, count: m)
    block.sum.update(repeating: sink == nil ? 0 : 1, count: m)
    o.update(repeating: 0, count: m * v)

    let visible = segment.band.visibleKeys(rows: rows, keys: segment.keyCount)
    var factor = logTwoOfE
    // Tiles begin at panels.
    for first in stride(
      from: visible.lowerBound / kernels.tile_columns * kernels.tile_columns,
      to: visible.upperBound, by: tile.keys)
    {
      let columns = first..<min(first + tile.keys, visible.upperBound)
      guard try inputs.leavesKeys(segment, columns) else { continue }
      // S = Q Kᵀ, terms and mask, P = exp(S − m), O += P V
      factor = operands.similarity(block, columns, isFinal: isFinal)
      scores.apply(
        segment, head: head, rows: rows, columns: columns, block.scores, stride: tile.keys)
      try operands.attend(
        block, columns, factor: factor,
        hides: scores.hides(segment, rows: rows, columns: columns))
    }
    finish(block, factor: shift == nil ? factor : 1, output, sums)
  }

  /// Divides by the sums, rounds and writes a block's rows. `factor` converts ``ForwardBlock/high`` to log₂.
  private func finish(
    _ block: ForwardBlock, factor: Float, _ output: OutputRows,
    _ sums: UnsafeMutablePointer<Float>
  ) {
    let problem = inputs.problem
    let segment = inputs.segments[block.segment]
    let type = problem.dtype.floatType ?? CPU_F32
    let (v, first) = (problem.valueDimension, segment.queryStart + block.rows.lowerBound)
    let size = problem.dtype.size
    let place =
      output.base
      + (segment.batch * output.batch + first * output.row + block.head * output.head) * size
    kernels.prefetch(block.rows.count, v * size, place, output.row * size, 1)
    kernels.finish_rows(
      type, block.rows.count, v, block.output, v, block.high, factor, block.sum, 1, place,
      output.row,
      sums + (segment.batch * problem.heads + block.head) * problem.queryLength + first)
  }
}
