import AttentionCUDA
import AttentionCUDAKernels
import AttentionTensors

/// One backward pass: `attention/rows.cu`, then `backward_queries.cu`, `backward_keys.cu` and, for a bias,
/// `bias_gradient.cu`.
struct FlashBackward {
  private let inputs: ExactArguments
  private let problem: ExactProblem
  private let operands: FlashOperands
  private let features: FlashFeatures

  init(_ inputs: ExactArguments, _ element: FlashElement) throws {
    self.inputs = inputs
    problem = inputs.problem
    operands = try FlashOperands(inputs.device)
    var features = FlashFeatures(inputs, element)
    features.hasBiasGradient = problem.needsBiasGradient
    self.features = features
  }

  private var sumShape: Shape { [problem.batch, problem.heads, problem.queryLength] }

  func run(_ outputs: ExactOutputs, _ incoming: ExactOutputs) throws -> ExactGradients {
    let logSumExpGradient = incoming[.logSumExp]
    guard sumShape.elementCount > 0, problem.keyLength > 0, !inputs.segments.isEmpty else {
      return try nothing(logSumExpGradient)
    }
    // Gradients of normalised slices go on to `unit_gradient.cu`, unrounded.
    let isWide = !features.element.isHalf || (problem.normalizedGroups ?? 1) > 1
    let plan = FlashBackwardPlan.of(
      FlashPlanKey(problem, features, TileLimits(operands.queue.device.limits)), isWide: isWide)
    let (device, columns) = (inputs.device, plan.columns)
    let slope = try DeviceRows(
      incoming[.output]?.cast(to: problem.dtype)
        ?? .zeros(outputs.output.shape, dtype: problem.dtype).moved(to: device),
      paddedTo: columns.values)
    let rows = try computeRows(outputs, slope, logSumExpGradient)

    let dtype = isWide ? DType.float32 : problem.dtype
    let queries = try DeviceRows(
      fresh: inputs.queries.shape, paddedTo: columns.keys, dtype, on: device,
      into: inputs.destinations.gradients[.queries])
    let keys = try DeviceRows(
      fresh: inputs.keys.shape, paddedTo: columns.keys, dtype, on: device,
      into: inputs.destinations.gradients[.keys])
    let values = try DeviceRows(
      fresh: inputs.values.shape, paddedTo: columns.values, dtype, on: device,
      into: inputs.destinations.gradients[.values])
    let scale =
      inputs.scales == nil
      ? nil : try Tensor.onDevice(sumShape, dtype: .float32, device: device)
    let keyCount = problem.batch * problem.heads * problem.keyLength
    let size = DType.float32.size
    let read = try FlashRows(inputs, features.element, operands)
    let parameters = AttentionBackwardParameters(
      operands: try AttentionOperands(inputs, features, read, operands),
      output_gradient: slope.place,
      queries_gradient: queries.place, keys_gradient: keys.place,
      values_gradient: values.place,
      shift: try operands.address(holding: rows.shift),
      offset: try operands.address(holding: rows.offset),
      large: try operands.address(holding: rows.large),
      sink: try AttentionSink(inputs, operands, gradient: rows.sink),
      delta: try operands.address(holding: rows.delta),
      scale_gradient: try scale?.deviceAddress() ?? 0,
      query_sums: inputs.logitDecay == nil
        ? 0 : try operands.fresh(sumShape.elementCount * size, "gradients of queries' sums"),
      key_sums: inputs.logitDecay == nil
        ? 0 : try operands.zeros(keyCount * size, "gradients of keys' sums"),
      again: try operands.address(holding: rows.again))
    let mapped =
      plan.usesMaps
      ? try FlashMaps(inputs, read, outputGradient: slope, features, operands) : nil
    for step in plan.steps {
      let tile = step.tile
      func launch(_ parameters: some BitwiseCopyable) throws {
        try operands.queue.launch(
          step.kernel, grid: grid(tile), threads: tile.threads, parameters)
      }
      guard let mapped else {
        try launch(parameters)
        continue
      }
      let device = operands.queue.device
      try launch(
        AttentionHopperBackwardParameters(
          maps: mapped.maps(tile.rows, on: device),
          output_gradient: mapped.outputGradient(tile.rows, on: device),
          bias: mapped.bias(tile.rows, on: device), units: mapped.units, key_words: mapped.keyWords,
          backward: parameters))
    }
    let lengths = RowLengths(inputs, features.element, operands)
    return try withExtendedLifetime(slope) {
      [
        .queries: try lengths.gradient(of: inputs.queries, from: queries),
        .keys: try lengths.gradient(of: inputs.keys, from: keys),
        .values: try values.result(dimension: problem.valueDimension),
        .scale: try scale?.sum([0, 2]),
        .bias: problem.needsBiasGradient
          ? try FlashBiasGradient(inputs, features, operands).run(parameters, isWide: isWide) : nil,
        .logitDecay: inputs.logitDecay == nil
          ? nil
          : try LogitDecaySums(inputs, segments: parameters.operands.segments, operands)
            .backward(querySums: parameters.query_sums, keySums: parameters.key_sums),
        .sinks: try rows.sink?.sum([0, 2]),
      ]
    }
  }

  /// Gradients where there is no pair of a query and a key: all are zero, but that of a sink, which is then its
  /// queries' log-sum-exp.
  private func nothing(_ logSumExpGradient: Tensor?) throws -> ExactGradients {
    func zeros(_ shape: Shape) throws -> Tensor { try .zeros(shape).moved(to: inputs.device) }
    func sink() throws -> Tensor {
      guard let logits = inputs.sinkLogits, let logSumExpGradient else {
        return try zeros([problem.heads])
      }
      let none = try Tensor.zeros([])
      return try .select(
        logits.cast(to: .float32).isEqual(to: .full([], -.infinity)), none,
        logSumExpGradient.detached().cast(to: .float32).sum([0, 2]))
    }
    return [
      .queries: try zeros(inputs.queries.shape), .keys: try zeros(inputs.keys.shape),
      .values: try zeros(inputs.values.shape),
      .scale: inputs.scales == nil ? nil : try zeros([problem.heads]),
      .bias: try inputs.biasGradientShape.map(zeros),
      .logitDecay: try inputs.logitDecay.map { try zeros($0.shape) },
      .sinks: inputs.hasSink ? try sink() : nil,
    ]
  }

  private func grid(_ tile: FlashBackwardTile) -> (Int, Int, Int) {
    func tiles(_ length: Int?, _ rows: Int) -> Int { (length ?? 0).pieces(of: rows) }
    return switch tile.owner {
    case .queries:
      (
        tiles(inputs.segments.lazy.map(\.queryCount).max(), tile.rows.queries), problem.heads,
        inputs.segments.count
      )
    case .keysAndValues, .keys, .values:
      (
        tiles(inputs.segments.lazy.map(\.keyCount).max(), tile.rows.keys), problem.keyValueHeads,
        inputs.segments.count
      )
    }
  }

  /// What `attention/rows.cu` computes of each query, [batch, heads, queries].
  private struct Rows {
    let delta: Tensor
    let shift: Tensor
    let offset: Tensor
    /// [batch, heads, queries, 2]
    let again: Tensor
    /// int32 [batch, heads, groups of 32 queries].
    let large: Tensor
    /// A query's part of the gradient of its head's sink.
    let sink: Tensor?
  }

  private func computeRows(
    _ outputs: ExactOutputs, _ slope: DeviceRows, _ logSumExpGradient: Tensor?
  ) throws -> Rows {
    func numbers() throws -> Tensor {
      try .onDevice(sumShape, dtype: .float32, device: inputs.device)
    }
    let dimension = FlashTile.padded(problem.valueDimension)
    let warps = 8
    // A warp works on as many queries as it has threads.
    let groups = problem.batch * problem.heads * problem.queryLength.pieces(of: warp_threads)
    let rows = Rows(
      delta: try numbers(), shift: try numbers(), offset: try numbers(),
      again: try .onDevice(
        Shape(sumShape.dimensions + [2]), dtype: .float32, device: inputs.device),
      large: try .onDevice([groups], dtype: .int32, device: inputs.device),
      sink: inputs.hasSink ? try numbers() : nil)
    try operands.queue.launch(
      features.element.kernel("attention/rows"),
      grid: (groups.pieces(of: warps), 1, 1), threads: warps * warp_threads,
      AttentionRowsParameters(
        output: operands.place(try DeviceRows(outputs.output, paddedTo: dimension)),
        output_gradient: slope.place,
        log_sum_exp: try operands.address(outputs.logSumExp, .float32),
        log_sum_exp_gradient: try operands.address(logSumExpGradient, .float32),
        sink: try AttentionSink(inputs, operands, gradient: rows.sink),
        delta: try rows.delta.deviceAddress(), shift: try rows.shift.deviceAddress(),
        offset: try rows.offset.deviceAddress(), again: try rows.again.deviceAddress(),
        large: try rows.large.deviceAddress(), count: Int64(groups),
        queries: Int32(problem.queryLength), heads: Int32(problem.heads),
        dimension: Int32(dimension)))
    return rows
  }
}
