import CUDA
import Tensors

/// One forward pass of `attention/forward.cu`.
struct FlashForward {
  private let inputs: ExactInputs
  private let device: CUDADevice
  private let tile: FlashTile
  private let bounds: [Float]?

  init(_ inputs: ExactInputs, _ device: CUDADevice) {
    self.inputs = inputs
    self.device = device
    bounds = FlashBound.constants(inputs)
    tile = FlashTile(
      keyDimension: inputs.problem.keyDimension, valueDimension: inputs.problem.valueDimension,
      features: FlashFeatures(
        hasKeyMask: inputs.keyMask != nil, dividesByLengths: inputs.normalizedGroups == 1,
        hasConstantBound: bounds != nil,
        hasTerms: inputs.hasAddedTerms || inputs.softcap != nil),
      capability: device.limits.capability, sharedBytes: device.limits.sharedBytesPerBlock)
  }

  func run() throws -> ExactOutputs {
    let problem = inputs.problem
    let outputShape: Shape = [
      problem.batch, problem.queryLength, problem.heads, problem.valueDimension,
    ]
    let sumShape: Shape = [problem.batch, problem.heads, problem.queryLength]
    guard sumShape.elementCount > 0, !inputs.segments.isEmpty else {
      return ExactOutputs(
        output: try .zeros(outputShape, dtype: problem.dtype), logSumExp: try .zeros(sumShape))
    }
    let module = try device.module(tile.variant(problem.dtype))
    let copies = try DeviceCopies(device)
    let queries = try copies.upload(rows: inputs.queries, "queries", paddedTo: tile.keyDimension)
    let keys = try copies.upload(rows: inputs.keys, "keys", paddedTo: tile.keyDimension)
    let values = try copies.upload(rows: inputs.values, "values", paddedTo: tile.valueDimension)
    let output = try copies.rows(
      outputShape, "output", paddedTo: tile.valueDimension, problem.dtype)
    let logSumExp = try copies.memory(
      sumShape.elementCount * DType.float32.size, "log-sum-exp", isOutput: true)
    // What only the parameters name must live until the kernel has run.
    let others = FlashOperands(copies)
    let lengths = try RowLengths(inputs, copies)
    let parameters = Parameters(
      queries: queries.place, keys: keys.place, values: values.place, output: output.place,
      logSumExp: logSumExp.address,
      segments: try others.address(
        inputs.segments.map { DeviceSegment($0, problem.alignment) }, "segments"),
      scale: try others.address(inputs.scale, "scale"),
      keyMask: try others.address(inputs.keyMask, "key mask"),
      queryLengths: try lengths.divide(queries, others),
      keyLengths: try lengths.divide(keys, others),
      bounds: try others.address(bounds, "bounds"),
      sinks: try others.address(inputs.sinks, "sinks"), terms: try DeviceTerms(inputs, others),
      queryLength: Int32(problem.queryLength), keyLength: Int32(problem.keyLength),
      headsPerGroup: Int32(inputs.headsPerGroup))
    let longest = inputs.segments.map(\.queryCount).max() ?? 0
    try module.launch(
      grid: (
        longest.rounded(up: tile.queryRows) / tile.queryRows, problem.heads, inputs.segments.count
      ),
      threads: tile.threads, sharedBytes: tile.sharedBytes, parameters, in: copies.stream)
    return try withExtendedLifetime(others) {
      ExactOutputs(
        output: try copies.download(output, outputShape, problem.dtype),
        logSumExp: try copies.download(logSumExp, sumShape, .float32))
    }
  }

  /// The kernel's parameters, field by field as it declares them.
  private struct Parameters: BitwiseCopyable {
    var queries: DeviceRows.Place
    var keys: DeviceRows.Place
    var values: DeviceRows.Place
    var output: DeviceRows.Place
    var logSumExp: UInt64
    var segments: UInt64
    var scale: UInt64
    var keyMask: UInt64
    var queryLengths: UInt64
    var keyLengths: UInt64
    var bounds: UInt64
    var sinks: UInt64
    var terms: DeviceTerms
    var queryLength: Int32
    var keyLength: Int32
    var headsPerGroup: Int32
    var unused: Int32 = 0
  }
}
