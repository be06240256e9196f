import AttentionCPUKernels
import AttentionTensors

/// Linear attention in chunks of 64 tokens, forward and backward: matrix products of tokens with
/// tokens inside a chunk, a state between chunks. Time and memory are linear in the length. If
/// tokens erase, what a chunk writes is solved from a triangular system of its tokens.
struct ChunkedKernel: LinearKernel {
  /// Whether it runs the erasing updates, or the additive ones.
  let erases: Bool
  /// Loops that replace those of the current instruction set, for tests.
  var kernels: cpu_kernels?

  var name: String { erases ? "cpu.erasing" : "cpu.chunked" }

  func objection(to problem: LinearProblem) -> Objection? {
    if problem.update.isErasing != erases {
      return Objection(
        "the update is \(problem.update.rawValue); this kernel \(erases ? "erases" : "only adds")")
    }
    return Self.objection(to: problem)
  }

  /// The objection that all chunked kernels share.
  static func objection(to problem: LinearProblem) -> Objection? {
    problem.dtype == .float64
      ? Objection("needs float32, bfloat16 or float16 inputs, was float64") : nil
  }

  /// The fraction of the peak that the products reach, including the work between them.
  private static func efficiency(of problem: LinearProblem) -> Double {
    guard problem.update.isErasing else { return 0.6 }
    return problem.decay == .perChannel ? 0.52 : 0.62
  }
  /// The speedup of products of bfloat16 pairs.
  private static let pairSpeedup = 1.6
  /// The cost of a sequence besides its tokens, in operations per element of the state.
  private static let stateOperations = 24

  func cost(of problem: LinearProblem) -> Cost {
    Self.cost(of: problem, pieces: problem.recurrences, length: problem.length)
  }

  /// The cost in `pieces` of at most `length` tokens, with `extraOperations` per token in addition
  /// to those of a whole sequence.
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

  /// The memory of a backward pass. It grows by the same amount with every chunk, and is
  /// extrapolated because a problem may have too many chunks to lay out.
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
