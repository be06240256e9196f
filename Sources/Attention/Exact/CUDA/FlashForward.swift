import AttentionCUDA
import AttentionTensors

/// One forward pass of `attention/forward.cu`, and `attention/merge.cu` where keys are split.
struct FlashForward {
  private let inputs: ExactInputs
  private let problem: ExactProblem
  private let operands: FlashOperands
  private let plan: FlashForwardPlan
  private let bound: FlashBound?
  private let longestQueries: Int

  init(_ inputs: ExactInputs, _ element: FlashElement) throws {
    self.inputs = inputs
    problem = inputs.problem
    operands = try FlashOperands(inputs.device)
    bound = FlashBound(inputs)
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
      return ExactOutputs(
        output: try .zeros(outputShape, dtype: problem.dtype).moved(to: inputs.device),
        logSumExp: try .zeros(sumShape).moved(to: inputs.device))
    }
    let output = try DeviceRows(
      fresh: outputShape, paddedTo: tile.columns.values, problem.dtype, on: inputs.device,
      into: inputs.places.output)
    let logSumExp = try Tensor.onDevice(
      sumShape, dtype: .float32, device: inputs.device, into: inputs.places.logSumExp)
    let rows = try FlashRows(inputs, tile.features.element, operands)
    let parts = tile.splits ?? 0
    let count = sumShape.elementCount
    let parameters = Parameters(
      operands: try DeviceOperands(inputs, tile.features, rows, operands), output: output.place,
      logSumExp: try logSumExp.deviceAddress(),
      sinks: try operands.address(inputs.sinkLogits, .float32),
      partialOutput: parts == 0
        ? 0
        : try operands.fresh(
          parts * count * tile.columns.values * DType.float32.size, "parts of the output"),
      partialSums: parts == 0
        ? 0
        : try operands.fresh(
          parts * count * MemoryLayout<PartialSum>.stride, "parts of the sums"),
      boundFactor: bound?.factor ?? 0, boundRise: bound?.rise ?? 0, boundRange: bound?.range ?? 0,
      splits: Int32(max(1, parts)))
    if tile.usesPlanes {
      let planes = try FlashPlanes.all(rows, operands)
      try launch(
        SingleParameters(
          maps: planes.maps(tile.rows, operands.queue.device), units: planes.units,
          forward: parameters))
    } else if tile.warpgroups != nil {
      try launch(
        MappedParameters(
          maps: FlashMaps(rows, tile.rows, operands.queue.device), forward: parameters))
    } else {
      try launch(parameters)
    }
    if parts > 0 { try merge(parameters, output, count) }
    return ExactOutputs(
      output: try output.result(dimension: problem.valueDimension), logSumExp: logSumExp)
  }

  private func launch(_ parameters: some BitwiseCopyable) throws {
    try operands.queue.launch(plan.kernel, grid: grid, threads: tile.threads, parameters)
  }

  private var grid: (Int, Int, Int) {
    let rows = tile.splits == nil ? longestQueries : longestQueries * inputs.headsPerGroup
    let tiles = rows.rounded(up: tile.rows.queries) / tile.rows.queries
    return (
      tiles * (tile.splits ?? 1), tile.splits == nil ? problem.heads : problem.keyValueHeads,
      inputs.segments.count
    )
  }

  private func merge(_ parts: Parameters, _ output: DeviceRows, _ count: Int) throws {
    // A block a row, whose threads share columns and parts.
    let threads = 256
    try operands.queue.launch(
      tile.features.element.kernel(
        "attention/merge", sharedBytes: threads * 4 * DType.float32.size),
      grid: (count, 1, 1), threads: threads,
      MergeParameters(
        partialOutput: parts.partialOutput, partialSums: parts.partialSums,
        output: output.place.base, logSumExp: parts.logSumExp, rows: Int64(count),
        splits: parts.splits, heads: Int32(problem.heads), queries: Int32(problem.queryLength),
        pitch: Int32(tile.columns.values)))
  }

  /// `PartialSum` of `attention/forward.cuh`.
  private struct PartialSum {
    var bound: Float
    var sum: Float
  }

  /// The kernel's parameters, field by field as it declares them.
  private struct Parameters: BitwiseCopyable {
    var operands: DeviceOperands
    var output: DeviceRows.Place
    var logSumExp: UInt64
    var sinks: UInt64
    var partialOutput: UInt64
    var partialSums: UInt64
    var boundFactor: Float
    var boundRise: Float
    var boundRange: Float
    var splits: Int32
  }

  /// Those of Hopper's kernel.
  private struct MappedParameters: BitwiseCopyable {
    var maps: FlashMaps
    var forward: Parameters
  }

  /// Those of Hopper's kernel for float32.
  private struct SingleParameters: BitwiseCopyable {
    var maps: FlashMaps
    var units: FlashUnits
    var forward: Parameters
  }

  /// The parameters of `attention/merge.cu`, field by field.
  private struct MergeParameters: BitwiseCopyable {
    var partialOutput: UInt64
    var partialSums: UInt64
    var output: UInt64
    var logSumExp: UInt64
    var rows: Int64
    var splits: Int32
    var heads: Int32
    var queries: Int32
    var pitch: Int32
  }
}
