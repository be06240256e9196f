import CUDA
import Glibc
import Tensors

/// One backward pass: `attention/delta.cu`, then `backward_queries.cu` and `backward_keys.cu`.
struct FlashBackward {
  private let inputs: ExactInputs
  private let device: CUDADevice
  private let problem: ExactProblem

  init(_ inputs: ExactInputs, _ device: CUDADevice) {
    self.inputs = inputs
    self.device = device
    problem = inputs.problem
  }

  func run(
    _ outputs: ExactOutputs, outputGradient: Tensor?, logSumExpGradient: Tensor?
  ) throws -> ExactGradients {
    let sumShape: Shape = [problem.batch, problem.heads, problem.queryLength]
    guard sumShape.elementCount > 0, inputs.keys.elementCount > 0 else { return try nothing() }
    let tiles = FlashBackwardTile.Owner.allCases.map {
      FlashBackwardTile(
        $0, keyDimension: problem.keyDimension, valueDimension: problem.valueDimension,
        hasKeyMask: inputs.keyMask != nil, dividesByLengths: inputs.normalizedGroups == 1,
        capability: device.limits.capability)
    }
    let (keyPitch, valuePitch) = (tiles[0].keyDimension, tiles[0].valueDimension)
    let modules = try tiles.map { try device.module($0.variant(problem.dtype)) }
    let copies = try DeviceCopies(device)
    let operands = FlashOperands(copies)

    let queries = try copies.upload(rows: inputs.queries, "queries", paddedTo: keyPitch)
    let keys = try copies.upload(rows: inputs.keys, "keys", paddedTo: keyPitch)
    let values = try copies.upload(rows: inputs.values, "values", paddedTo: valuePitch)
    let output = try copies.upload(rows: outputs.output, "output", paddedTo: valuePitch)
    let incoming =
      try outputGradient ?? .zeros(outputs.output.shape, dtype: problem.dtype)
    let slope = try copies.upload(
      rows: incoming.cast(to: problem.dtype), "output gradient", paddedTo: valuePitch)
    let sumBytes = sumShape.elementCount * DType.float32.size
    let delta = try copies.memory(sumBytes, "row sums", isOutput: true)
    try subtractRowSums(
      output, slope, try operands.address(logSumExpGradient, "log-sum-exp gradient"), delta, copies)

    let lengths = try RowLengths(inputs, copies)
    let queriesGradient = try copies.rows(
      inputs.queries.shape, "queries gradient", paddedTo: keyPitch, .float32)
    let keysGradient = try copies.rows(
      inputs.keys.shape, "keys gradient", paddedTo: keyPitch, .float32)
    let valuesGradient = try copies.rows(
      inputs.values.shape, "values gradient", paddedTo: valuePitch, .float32)
    let scaleGradient = try copies.memory(sumBytes, "scale gradient", isOutput: true)
    let parameters = Parameters(
      queries: queries.place, keys: keys.place, values: values.place, outputGradient: slope.place,
      queriesGradient: queriesGradient.place, keysGradient: keysGradient.place,
      valuesGradient: valuesGradient.place,
      logSumExp: try operands.address(outputs.logSumExp, "log-sum-exp"), delta: delta.address,
      segments: try operands.address(
        inputs.segments.map { DeviceSegment($0, problem.alignment) }, "segments"),
      scale: try operands.address(inputs.scale, "scale"),
      keyMask: try operands.address(inputs.keyMask, "key mask"),
      queryLengths: try lengths.divide(queries, operands),
      keyLengths: try lengths.divide(keys, operands), scaleGradient: scaleGradient.address,
      queryLength: Int32(problem.queryLength), keyLength: Int32(problem.keyLength),
      headsPerGroup: Int32(inputs.headsPerGroup))
    for (tile, module) in zip(tiles, modules) {
      try module.launch(
        grid: grid(tile), threads: tile.threads, sharedBytes: tile.sharedBytes, parameters,
        in: copies.stream)
    }
    return try withExtendedLifetime(operands) {
      let rowSums = try copies.download(delta, sumShape, .float32)
      return ExactGradients(
        queries: try copies.download(queriesGradient, inputs.queries.shape, .float32),
        keys: try copies.download(keysGradient, inputs.keys.shape, .float32),
        values: try copies.download(valuesGradient, inputs.values.shape, .float32),
        scale: try perHead(copies.download(scaleGradient, sumShape, .float32)) { sum, _, _ in sum },
        sinks: try inputs.sinks.map { sinks in
          let logSums = try outputs.logSumExp.elements(as: Float.self)
          // A sink's weight times −δ: it has no value whose product with dO could add to it.
          return try perHead(rowSums) { sum, place, head in
            -sum * exp(Double(sinks[head]) - Double(logSums[place]))
          }
        })
    }
  }

  /// Gradients where there is no pair of a query and a key.
  private func nothing() throws -> ExactGradients {
    ExactGradients(
      queries: try .zeros(inputs.queries.shape), keys: try .zeros(inputs.keys.shape),
      values: try .zeros(inputs.values.shape), scale: try .zeros([problem.heads]),
      sinks: try inputs.sinks.map { _ in try .zeros([problem.heads]) })
  }

  private func grid(_ tile: FlashBackwardTile) -> (Int, Int, Int) {
    switch tile.owner {
    case .queries:
      let longest = inputs.segments.map(\.queryCount).max() ?? 0
      return (
        longest.rounded(up: tile.queryRows) / tile.queryRows, problem.heads, inputs.segments.count
      )
    case .keys:
      let longest = inputs.segments.map(\.keyCount).max() ?? 0
      return (
        longest.rounded(up: tile.keyRows) / tile.keyRows, problem.keyValueHeads,
        inputs.segments.count
      )
    }
  }

  private func subtractRowSums(
    _ output: DeviceRows, _ slope: DeviceRows, _ logSumExpGradient: UInt64, _ delta: DeviceMemory,
    _ copies: DeviceCopies
  ) throws {
    let warps = 8
    let module = try device.module(
      KernelVariant(
        source: "attention/delta.cu", function: "attention_delta",
        definitions: [FlashTile.definition(of: problem.dtype)], sharedBytes: 0))
    let count = problem.batch * problem.queryLength * problem.heads
    try module.launch(
      grid: (count.rounded(up: warps) / warps, 1, 1), threads: warps * FlashTile.threadsPerWarp,
      sharedBytes: 0,
      RowSumParameters(
        output: output.memory.address, outputGradient: slope.memory.address,
        logSumExpGradient: logSumExpGradient, delta: delta.address, count: Int64(count),
        queries: Int32(problem.queryLength), heads: Int32(problem.heads),
        pitch: Int32(output.pitch), dimension: Int32(problem.valueDimension)),
      in: copies.stream)
  }

  /// Sums numbers [batch, heads, queries] for each head, in their order.
  private func perHead(
    _ numbers: Tensor, _ part: (_ number: Double, _ place: Int, _ head: Int) -> Double
  ) throws -> Tensor {
    var sums = [Double](repeating: 0, count: problem.heads)
    for (place, number) in try numbers.elements(as: Float.self).enumerated() {
      let head = place / problem.queryLength % problem.heads
      sums[head] += part(Double(number), place, head)
    }
    return try Tensor(sums.map { Float($0) }, [problem.heads])
  }

  /// `BackwardParameters` of `attention/backward.cuh`, field by field.
  private struct Parameters: BitwiseCopyable {
    var queries: DeviceRows.Place
    var keys: DeviceRows.Place
    var values: DeviceRows.Place
    var outputGradient: DeviceRows.Place
    var queriesGradient: DeviceRows.Place
    var keysGradient: DeviceRows.Place
    var valuesGradient: DeviceRows.Place
    var logSumExp: UInt64
    var delta: UInt64
    var segments: UInt64
    var scale: UInt64
    var keyMask: UInt64
    var queryLengths: UInt64
    var keyLengths: UInt64
    var scaleGradient: UInt64
    var queryLength: Int32
    var keyLength: Int32
    var headsPerGroup: Int32
    var unused: Int32 = 0
  }

  /// The parameters of `attention/delta.cu`, field by field.
  private struct RowSumParameters: BitwiseCopyable {
    var output: UInt64
    var outputGradient: UInt64
    var logSumExpGradient: UInt64
    var delta: UInt64
    var count: Int64
    var queries: Int32
    var heads: Int32
    var pitch: Int32
    var dimension: Int32
  }
}
