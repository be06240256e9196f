import AttentionCPUKernels
import AttentionTensors

/// Linear attention that erases what it replaces, in chunks of 64 tokens: delta rules, and a diagonal
/// plus a low rank. What a chunk writes is solved from a triangular system of its tokens; the rest is
/// as in the additive recurrence.
struct ErasingChunked: LinearKernel {
  let name = "cpu.erasing"

  func objection(to problem: LinearProblem) -> Objection? {
    if !problem.update.isErasing {
      return Objection("the update is \(problem.update.rawValue); this kernel erases")
    }
    return problem.dtype == .float64
      ? Objection("queries are float64; this kernel computes in float32") : nil
  }

  /// The share of the peak that the products reach with the work between them, which is more where
  /// each channel has its own decay.
  private static let efficiency = 0.62
  private static let channelEfficiency = 0.52
  /// Passes over the state that a sequence costs beside its tokens, in operations an element.
  private static let stateOperations = 24

  func cost(of problem: LinearProblem) -> Cost {
    let (k, v) = (problem.keyDimension, problem.valueDimension)
    let tokens = problem.batch * problem.length * problem.valueHeads
    let tile = InstructionSet.current.kernels.tile_columns
    let workers = min(problem.recurrences, Threads.count)
    let floats =
      problem.needsGradient
      ? ErasingBackward.size(problem, tile: tile) : ErasingForward.size(problem, tile: tile)
    return Cost(
      operations: Double(tokens * Self.operations(problem))
        + Double(problem.recurrences * k * v * Self.stateOperations),
      bytes: problem.bytes,
      extraMemory: workers * floats * MemoryLayout<Float>.size,
      efficiency: problem.decay == .perChannel ? Self.channelEfficiency : Self.efficiency,
      overhead: 5e-6, pieces: problem.recurrences)
  }

  /// Operations a token and value head: products with the state, and with the tokens of the chunk, of
  /// which one sees half.
  private static func operations(_ problem: LinearProblem) -> Int {
    let (k, v, length) = (problem.keyDimension, problem.valueDimension, ChunkScores.length)
    switch (problem.update == .lowRank, problem.needsGradient) {
    case (false, false): return 6 * k * v + length * (2 * k + 2 * v)
    case (false, true): return 22 * k * v + length * (9 * k + 7 * v)
    case (true, false): return 8 * k * v + length * (4 * k + 4 * v)
    case (true, true): return 30 * k * v + length * (18 * k + 14 * v)
    }
  }

  func forward(_ call: LinearArguments) throws -> LinearOutputs {
    let kernels = InstructionSet.current.kernels
    let reader = try ErasingReader(call, kernels)
    let product = PanelProduct(kernels: kernels)
    return try call.fillOutputs(kernels) {
      let recurrence = try ErasingForward(reader, product)
      return { index, state, output in
        recurrence.run(
          call.pieces(ofRecurrence: index, length: ChunkScores.length), state, to: output)
      }
    }
  }
}

extension ErasingChunked {
  func backward(
    _ call: LinearArguments, _ outputs: LinearOutputs, _ incoming: LinearOutputs
  ) throws -> LinearGradients {
    let (outputGradient, finalStateGradient) = (incoming[.output], incoming[.finalState])
    let kernels = InstructionSet.current.kernels
    let problem = call.problem
    let reader = try ErasingReader(call, kernels)
    let stateSize = problem.keyDimension * problem.valueDimension
    let incoming = try (outputGradient ?? .zeros(call.outputShape)).contiguous()
    let outputRows = try TokenRows(incoming, kernels)
    let finalGradient = try (finalStateGradient ?? .zeros(call.stateShape)).contiguous()

    // Gradients of value heads that share a query head are added in float32, before rounding.
    let keyShape = Shape([problem.batch, problem.length, problem.valueHeads, problem.keyDimension])
    let keyDType = problem.heads == problem.valueHeads ? problem.dtype : .float32
    let fixed = [
      (shape: keyShape, dtype: keyDType), (shape: keyShape, dtype: keyDType),
      (shape: call.outputShape, dtype: problem.dtype),
    ]
    let decayAndUpdate = ([call.decay].compactMap { $0 } + call.update.tensors).map {
      (shape: $0.shape, dtype: DType.float32)
    }
    let shapes = fixed + decayAndUpdate
    let hasDecay = call.decay != nil
    let tensors = try Tensor.filling(shapes + [(shape: call.stateShape, dtype: .float32)]) {
      pointers in
      let rows = try zip(pointers, shapes).map {
        try TokenRowsOutput($0, $1.shape, $1.dtype, kernels)
      }
      let targets = ErasingBackward.Targets(
        queries: rows[0], keys: rows[1], values: rows[2], decay: hasDecay ? rows[3] : nil,
        update: Array(rows.dropFirst(hasDecay ? 4 : 3)))
      let states = pointers[shapes.count].assumingMemoryBound(to: Float.self)
      try Threads.tryForEach(problem.recurrences) { index in
        let pieces = call.pieces(ofRecurrence: index, length: ChunkScores.length)
        let recurrence = try ErasingBackward(
          reader, PanelProduct(kernels: kernels), chunks: pieces.count)
        let initialState = try Scratch(floats: stateSize)
        try call.copyInitialState(index, to: initialState.base)
        let gradient = states + index * stateSize
        try finalGradient.withUnsafePointer(to: Float.self) {
          gradient.update(from: $0 + index * stateSize, count: stateSize)
        }
        try recurrence.run(
          pieces, initialState: initialState.base, gradient: gradient, incoming: outputRows,
          to: targets)
      }
    }
    return LinearGradients(
      of: call, queries: tensors[0], keys: tensors[1], values: tensors[2],
      decay: hasDecay ? tensors[3] : nil,
      update: Array(tensors[(hasDecay ? 4 : 3)..<shapes.count]),
      initialState: call.initialState == nil ? nil : tensors[shapes.count])
  }
}
