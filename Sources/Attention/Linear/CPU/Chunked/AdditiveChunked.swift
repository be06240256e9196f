import AttentionCPUKernels
import AttentionTensors

/// Linear attention in chunks of 64 tokens, forward and backward: inside a chunk matrix products of
/// tokens with tokens, between chunks a state. Time and memory are linear in the length.
struct AdditiveChunked: LinearKernel {
  let name = "cpu.chunked"

  func objection(to problem: LinearProblem) -> Objection? { Self.objection(to: problem) }

  /// What no kernel that adds in chunks computes.
  static func objection(to problem: LinearProblem) -> Objection? {
    if problem.update.isErasing {
      return Objection("the update is \(problem.update.rawValue); this kernel only adds")
    }
    return problem.dtype == .float64
      ? Objection("queries are float64; this kernel computes in float32") : nil
  }

  /// The share of the peak that the products reach with the work between them, and how much faster
  /// those of bfloat16 pairs are.
  private static let efficiency = 0.6
  private static let pairSpeedup = 1.6
  /// Passes over the state that a sequence costs beside its tokens, in operations an element.
  private static let stateOperations = 24
  private static let forwardProducts = 2
  private static let gradientProducts = 7

  func cost(of problem: LinearProblem) -> Cost {
    Self.cost(of: problem, pieces: problem.recurrences, length: problem.length)
  }

  /// The cost in `pieces` of at most `length` tokens, with `extraProducts` of each token with the
  /// state beside those of a whole sequence.
  static func cost(
    of problem: LinearProblem, pieces: Int, length: Int, extraProducts: Int = 0
  ) -> Cost {
    let (k, v) = (problem.keyDimension, problem.valueDimension)
    let tokens = problem.batch * problem.length * problem.valueHeads
    // As many products with the state as with the tokens of the chunk, of which one sees half.
    let products = problem.needsGradient ? gradientProducts : forwardProducts
    let perToken =
      (2 * k * v + ChunkScores.length / 2 * (k + v)) * products + 2 * k * v * extraProducts
    let product = PanelProduct(kernels: InstructionSet.current.kernels, for: problem.dtype)
    let workers = min(pieces, Threads.count)
    let floats =
      problem.needsGradient
      ? ChunkedBackward.size(problem, product, length: length)
      : ChunkedForward.size(problem, tile: product.kernels.tile_columns)
    return Cost(
      operations: Double(tokens * perToken)
        + Double(problem.recurrences * k * v * stateOperations),
      bytes: problem.bytes, extraMemory: workers * floats * MemoryLayout<Float>.size,
      efficiency: efficiency * (product.roundsOperands ? pairSpeedup : 1), overhead: 5e-6,
      pieces: pieces)
  }

  func forward(_ call: LinearArguments) throws -> LinearOutputs {
    let passes = try AdditivePasses(call)
    let pieces = SequencePieces(call)
    return try passes.forward { states, output in
      for index in 0..<pieces.count {
        try call.copyInitialState(index, to: states + index * call.stateSize)
      }
      try passes.run(pieces, states: states, to: output)
    }
  }

  func backward(
    _ call: LinearArguments, _ outputs: LinearOutputs, _ incoming: LinearOutputs
  ) throws -> LinearGradients {
    let (outputGradient, finalStateGradient) = (incoming[.output], incoming[.finalState])
    let passes = try AdditivePasses(call)
    let pieces = SequencePieces(call)
    return try passes.backward(
      pieces, outputGradient: outputGradient, finalStateGradient: finalStateGradient
    ) { gradients in
      let states = try Scratch(floats: pieces.count * call.stateSize)
      for index in 0..<pieces.count {
        try call.copyInitialState(index, to: states.base + index * call.stateSize)
      }
      try gradients.finalState.withUnsafePointer(to: Float.self) {
        gradients.initialState.update(from: $0, count: pieces.count * call.stateSize)
      }
      try passes.run(
        pieces, states: states.base, gradients: gradients.initialState, gradients)
    }
  }
}
