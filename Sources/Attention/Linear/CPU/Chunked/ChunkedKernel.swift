import AttentionCPUKernels
import AttentionTensors

/// Linear attention in chunks of 64 tokens, forward and backward: inside a chunk matrix products of
/// tokens with tokens, between chunks a state. Time and memory are linear in the length. What a chunk
/// writes that erases is solved from a triangular system of its tokens.
struct ChunkedKernel: LinearKernel {
  /// Whether it runs the updates that erase, or the others.
  let erases: Bool
  /// Loops that take the place of the current instruction set's. For tests.
  var kernels: cpu_kernels?

  var name: String { erases ? "cpu.erasing" : "cpu.chunked" }

  func objection(to problem: LinearProblem) -> Objection? {
    if problem.update.isErasing != erases {
      return Objection(
        "the update is \(problem.update.rawValue); this kernel \(erases ? "erases" : "only adds")")
    }
    return Self.objection(to: problem)
  }

  /// What no kernel that runs in chunks computes.
  static func objection(to problem: LinearProblem) -> Objection? {
    problem.dtype == .float64
      ? Objection("needs float32, bfloat16 or float16 inputs, was float64") : nil
  }

  /// The share of the peak that the products reach with the work between them.
  private static func efficiency(of problem: LinearProblem) -> Double {
    guard problem.update.isErasing else { return 0.6 }
    return problem.decay == .perChannel ? 0.52 : 0.62
  }
  /// How much faster products of bfloat16 pairs are.
  private static let pairSpeedup = 1.6
  /// Passes over the state that a sequence costs beside its tokens, in operations an element.
  private static let stateOperations = 24

  func cost(of problem: LinearProblem) -> Cost {
    Self.cost(of: problem, pieces: problem.recurrences, length: problem.length)
  }

  /// The cost in `pieces` of at most `length` tokens, with `extraOperations` per token beside those of a
  /// whole sequence.
  static func cost(
    of problem: LinearProblem, pieces: Int, length: Int, extraOperations: Int = 0
  ) -> Cost {
    let shape = ChunkShape(problem)
    let tokens = problem.batch * problem.length * problem.valueHeads
    let chunks = length.pieces(of: ChunkScores.length)
    let floats =
      problem.needsGradient
      ? floatsBackward(shape, chunks: chunks)
      : Arena.size { ChunkedForward(shape, &$0) }
    let perToken = shape.operations(needsGradient: problem.needsGradient) + extraOperations
    return Cost(
      operations: Double(tokens) * Double(perToken)
        + Double(problem.recurrences * shape.k * shape.v * stateOperations),
      bytes: problem.bytes,
      extraMemory: min(pieces, Threads.count) * floats * MemoryLayout<Float>.size,
      efficiency: efficiency(of: problem) * (shape.roundsOperands ? pairSpeedup : 1),
      overhead: 5e-6, pieces: pieces)
  }

  /// The memory of a backward pass, which grows by the same amount with every chunk: a problem may have more
  /// chunks than a layout of them has room for.
  private static func floatsBackward(_ shape: ChunkShape, chunks: Int) -> Int {
    func floats(_ chunks: Int) -> Int {
      Arena.size { ChunkedBackward(shape, chunks: chunks, &$0) }
    }
    let first = floats(1)
    return first + (chunks - 1) * (floats(2) - first)
  }

  func forward(_ call: LinearArguments) throws -> LinearOutputs {
    let passes = try ChunkedPasses(call, kernels: kernels)
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
    let passes = try ChunkedPasses(call, kernels: kernels)
    let pieces = SequencePieces(call)
    return try passes.backward(pieces, incoming) { gradients in
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
