import CPUKernels
import Tensors

/// Linear attention in chunks of 64 tokens, forward and backward: inside a chunk matrix products of
/// tokens with tokens, between chunks a state. Time and memory are linear in the length.
struct AdditiveChunked: LinearKernel {
  let name = "cpu.chunked"

  func objection(to problem: LinearProblem) -> Objection? {
    if problem.update != .additive {
      return Objection("the update is \(problem.update.rawValue); this kernel only adds")
    }
    return problem.dtype == .float64
      ? Objection("queries are float64; this kernel computes in float32") : nil
  }

  /// The share of the peak that the products reach with the work between them.
  private static let efficiency = 0.4
  /// Passes over the state that a sequence costs beside its tokens, in operations an element.
  private static let stateOperations = 24
  private static let forwardProducts = 2
  private static let gradientProducts = 7

  func cost(of problem: LinearProblem) -> Cost {
    let (k, v) = (problem.keyDimension, problem.valueDimension)
    let tokens = problem.batch * problem.length * problem.valueHeads
    // As many products with the state as with the tokens of the chunk, of which one sees half.
    let products = problem.needsGradient ? Self.gradientProducts : Self.forwardProducts
    let perToken = (2 * k * v + ChunkScores.length / 2 * (k + v)) * products
    let product = PanelProduct(kernels: InstructionSet.current.kernels, for: problem.dtype)
    let workers = min(problem.recurrences, Threads.count)
    let floats =
      problem.needsGradient
      ? ChunkedBackward.size(problem, product)
      : ChunkedForward.size(problem, tile: product.kernels.tile_columns)
    return Cost(
      operations: Double(tokens * perToken)
        + Double(problem.recurrences * k * v * Self.stateOperations),
      bytes: problem.bytes,
      extraMemory: workers * floats * MemoryLayout<Float>.size,
      efficiency: Self.efficiency, overhead: 5e-6, pieces: problem.recurrences)
  }

  func forward(_ call: LinearCall) throws -> LinearOutputs {
    let kernels = InstructionSet.current.kernels
    let product = PanelProduct(kernels: kernels, for: call.problem.dtype)
    let reader = try RecurrenceReader(call, kernels)
    let stateSize = reader.keyDimension * reader.valueDimension
    let tensors = try Tensor.filling([
      (shape: call.outputShape, dtype: call.problem.dtype),
      (shape: call.stateShape, dtype: .float32),
    ]) { pointers in
      let output = try TokenRowsOutput(pointers[0], call.outputShape, call.problem.dtype, kernels)
      let states = pointers[1].assumingMemoryBound(to: Float.self)
      try Threads.tryForEach(call.problem.recurrences) { index in
        let state = states + index * stateSize
        try call.copyInitialState(index, to: state)
        let recurrence = try ChunkedForward(reader, product)
        recurrence.run(
          call.pieces(ofRecurrence: index, length: ChunkScores.length), state, to: output)
      }
    }
    return LinearOutputs(output: tensors[0], finalState: tensors[1])
  }
}

extension AdditiveChunked {
  func backward(
    _ call: LinearCall, outputGradient: Tensor?, finalStateGradient: Tensor?
  ) throws -> LinearGradients {
    let kernels = InstructionSet.current.kernels
    let problem = call.problem
    let product = PanelProduct(kernels: kernels, for: call.problem.dtype)
    let reader = try RecurrenceReader(call, kernels)
    let stateSize = reader.keyDimension * reader.valueDimension
    let incoming = try (outputGradient ?? .zeros(call.outputShape)).contiguous()
    let outputRows = try TokenRows(incoming, kernels)
    let finalGradient = try (finalStateGradient ?? .zeros(call.stateShape)).contiguous()

    // Gradients of value heads that share a query head are added in float32, before rounding.
    let keyShape = Shape([problem.batch, problem.length, problem.valueHeads, reader.keyDimension])
    let keyDType = problem.heads == problem.valueHeads ? problem.dtype : .float32
    let decayShape = Shape(keyShape.dimensions[..<3] + [max(1, reader.decayWidth)])
    let hasDecay = reader.decayWidth > 0
    let tensors = try Tensor.filling([
      (shape: keyShape, dtype: keyDType), (shape: keyShape, dtype: keyDType),
      (shape: call.outputShape, dtype: problem.dtype), (shape: call.stateShape, dtype: .float32),
      (shape: hasDecay ? decayShape : [0, 0, 0, 0], dtype: .float32),
    ]) { pointers in
      let targets = ChunkedBackward.Targets(
        queries: try TokenRowsOutput(pointers[0], keyShape, keyDType, kernels),
        keys: try TokenRowsOutput(pointers[1], keyShape, keyDType, kernels),
        values: try TokenRowsOutput(pointers[2], call.outputShape, problem.dtype, kernels),
        decay: hasDecay
          ? try TokenRowsOutput(pointers[4], decayShape, .float32, kernels) : nil)
      let states = pointers[3].assumingMemoryBound(to: Float.self)
      try Threads.tryForEach(problem.recurrences) { index in
        let pieces = call.pieces(ofRecurrence: index, length: ChunkScores.length)
        let recurrence = try ChunkedBackward(
          reader, product, chunks: pieces.count)
        let initialState = try Scratch(floats: stateSize)
        try call.copyInitialState(index, to: initialState.base)
        let gradient = states + index * stateSize
        try finalGradient.withUnsafePointer(to: Float.self) {
          gradient.update(from: $0 + index * stateSize, count: stateSize)
        }
        recurrence.run(
          pieces, initialState: initialState.base, gradient: gradient, incoming: outputRows,
          to: targets)
      }
    }
    return LinearGradients(
      queries: tensors[0], keys: tensors[1], values: tensors[2],
      decay: hasDecay ? tensors[4] : nil,
      initialState: call.initialState == nil ? nil : tensors[3])
  }
}
