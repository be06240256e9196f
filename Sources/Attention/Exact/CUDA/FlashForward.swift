import AttentionCUDA
import AttentionCUDAKernels
import AttentionTensors

/// One forward pass of `attention/forward.cu`, and `attention/merge.cu` where keys are split.
struct FlashForward {
  private let inputs: ExactArguments
  private let problem: ExactProblem
  private let operands: FlashOperands
  private let plan: FlashForwardPlan
  private let bound: ScoreBound?
  private let longestQueries: Int

  init(_ inputs: ExactArguments, _ element: FlashElement) throws {
    self.inputs = inputs
    problem = inputs.problem
    operands = try FlashOperands(inputs.device)
    bound = .onDevice(inputs)
    let longest = inputs.segments.max { $0.queryCount < $1.queryCount }
    longestQueries = longest?.queryCount ?? 0
    let limits = operands.queue.device.limits
    plan = .of(
      FlashPlanKey(problem, FlashFeatures(inputs, element), TileLimits(limits)),
      hasConstantBound: bound != nil,
      splits: FlashSplit.parts(
        problem, longestQueries: longestQueries, multiprocessors: limits.multiprocessors),
      longest: longest)
  }

  private var tile: FlashTile { plan.tile }

  func run() throws -> ExactOutputs {
    let outputShape: Shape = [
      problem.batch, problem.queryLength, problem.heads, problem.valueDimension,
    ]
    let sumShape: Shape = [problem.batch, problem.heads, problem.queryLength]
    guard sumShape.elementCount > 0, !inputs.segments.isEmpty else {
      return [
        .output: try .zeros(outputShape, dtype: problem.dtype).moved(to: inputs.device),
        .logSumExp: try .zeros(sumShape).moved(to: inputs.device),
      ]
    }
    let output = try DeviceRows(
      fresh: outputShape, paddedTo: tile.columns.values, problem.dtype, on: inputs.device,
      into: inputs.destinations.outputs[.output])
    let logSumExp = try Tensor.onDevice(
      sumShape, dtype: .float32, device: inputs.device,
      into: inputs.destinations.outputs[.logSumExp])
    let rows = try FlashRows(inputs, tile.features.element, operands)
    let parts = tile.splits ?? 0
    let count = sumShape.elementCount
    let parameters = AttentionForwardParameters(
      operands: try AttentionOperands(inputs, tile.features, rows, operands), output: output.place,
      log_sum_exp: try logSumExp.deviceAddress(),
      sink: try AttentionSink(inputs, operands),
      partial_output: parts == 0
        ? 0
        : try operands.fresh(
          parts * count * tile.columns.values * DType.float32.size, "parts of the output"),
      partial_sums: parts == 0
        ? 0
        : try operands.fresh(
          parts * count * MemoryLayout<AttentionPartialSum>.stride, "parts of the sums"),
      bound_factor: bound?.factor ?? 0, bound_rise: bound?.rise ?? 0,
      bound_range: bound?.range ?? 0, splits: Int32(max(1, parts)))
    if tile.warpgroups == nil {
      try launch(parameters)
    } else {
      let mapped = try FlashMaps(inputs, rows, tile.features, operands)
      let device = operands.queue.device
      try launch(
        AttentionHopperForwardParameters(
          maps: mapped.maps(tile.rows, on: device), bias: mapped.bias(tile.rows, on: device),
          units: mapped.units, key_words: mapped.keyWords, forward: parameters))
    }
    if parts > 0 { try merge(parameters, output, count) }
    return [
      .output: try output.result(dimension: problem.valueDimension), .logSumExp: logSumExp,
    ]
  }

  private func launch(_ parameters: some BitwiseCopyable) throws {
    try operands.queue.launch(plan.kernel, grid: grid, threads: tile.threads, parameters)
  }

  private var grid: (Int, Int, Int) {
    let rows = tile.splits == nil ? longestQueries : longestQueries * inputs.headsPerGroup
    let tiles = rows.pieces(of: tile.rows.queries)
    return (
      tiles * (tile.splits ?? 1), tile.splits == nil ? problem.heads : problem.keyValueHeads,
      inputs.segments.count
    )
  }

  private func merge(_ parts: AttentionForwardParameters, _ output: DeviceRows, _ count: Int) throws
  {
    // One block per row, whose threads share columns and parts.
    try operands.queue.launch(
      tile.features.element.kernel("attention/merge", sharedBytes: merge_shared_bytes),
      grid: (count, 1, 1), threads: merge_threads,
      AttentionMergeParameters(
        partial_output: parts.partial_output, partial_sums: parts.partial_sums,
        output: output.place.base, log_sum_exp: parts.log_sum_exp, rows: Int64(count),
        splits: parts.splits, heads: Int32(problem.heads), queries: Int32(problem.queryLength),
        pitch: Int32(tile.columns.values)))
  }
}
