import CPUKernels
import Tensors

/// The additive recurrence token by token in float32, forward only: for decoding, where a call has
/// one token or a few.
struct AdditiveStep: LinearKernel {
  let name = "cpu.step"

  /// Tokens that are read at once.
  private static let blockLength = 64
  /// Operations for each element of the state and token.
  private static let operations = 5
  /// Each element of the state is loaded and stored for five operations.
  private static let efficiency = 0.15

  func objection(to problem: LinearProblem) -> Objection? {
    if problem.dtype == .float64 {
      return Objection("queries are float64; this kernel computes in float32")
    }
    if problem.needsGradient {
      return Objection("gradients asked for; this kernel runs forward only")
    }
    return nil
  }

  func cost(of problem: LinearProblem) -> Cost {
    let state = problem.keyDimension * problem.valueDimension
    let tokens = problem.batch * problem.length * problem.valueHeads
    let block = min(Self.blockLength, problem.length)
    return Cost(
      operations: Double(tokens) * Double(state) * Double(Self.operations),
      bytes: problem.bytes,
      extraMemory: min(problem.recurrences, Threads.count)
        * block * (7 * problem.keyDimension + 2 * problem.valueDimension + 2)
        * MemoryLayout<Float>.size,
      efficiency: Self.efficiency, overhead: 2e-6, pieces: problem.recurrences)
  }

  func forward(_ call: LinearCall) throws -> LinearOutputs {
    let kernels = InstructionSet.current.kernels
    let reader = try RecurrenceReader(call, kernels)
    let (k, v) = (reader.keyDimension, reader.valueDimension)
    let block = max(1, min(Self.blockLength, call.problem.length))
    let tensors = try Tensor.filling([
      (shape: call.outputShape, dtype: call.problem.dtype),
      (shape: call.stateShape, dtype: .float32),
    ]) { pointers in
      let output = try TokenRowsOutput(pointers[0], call.outputShape, call.problem.dtype, kernels)
      let finalStates = pointers[1].assumingMemoryBound(to: Float.self)
      try Threads.tryForEach(call.problem.recurrences) { index in
        let state = finalStates + index * k * v
        try call.copyInitialState(index, to: state)
        let tokens = try ChunkTokens(reader, length: block)
        let rows = try Scratch(floats: block * v)
        let (whole, rest) = (try Scratch(floats: block * k), try Scratch(floats: block * k))
        for piece in call.pieces(ofRecurrence: index, length: block) {
          tokens.loadQueries(piece)
          tokens.loadWrites(piece)
          kernels.decay_split(
            piece.count * max(1, reader.decayWidth), tokens.decay, whole.base, rest.base)
          for t in 0..<piece.count {
            let decay = t * reader.decayWidth
            kernels.additive_step(
              k, v, tokens.queries + t * k, tokens.keys + t * k, tokens.values + t * v,
              whole.base + decay, rest.base + decay, reader.decayIsByChannel ? 1 : 0, state, state,
              rows.base + t * v)
          }
          output.store(row: piece.row, tokens: piece.tokens, head: piece.head, from: rows.base)
        }
      }
    }
    return LinearOutputs(output: tensors[0], finalState: tensors[1])
  }

  func backward(
    _ call: LinearCall, outputGradient: Tensor?, finalStateGradient: Tensor?
  ) throws -> LinearGradients {
    throw AttentionError.kernelObjects(
      name, Objection("gradients asked for; this kernel runs forward only"))
  }
}
