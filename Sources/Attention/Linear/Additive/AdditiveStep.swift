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
    return Cost(
      operations: Double(tokens) * Double(state) * Double(Self.operations),
      bytes: problem.bytes,
      extraMemory: min(problem.recurrences, Threads.count) * Buffers.size(problem)
        * MemoryLayout<Float>.size,
      efficiency: Self.efficiency, overhead: 2e-6, pieces: problem.recurrences)
  }

  func forward(_ call: LinearCall) throws -> LinearOutputs {
    let kernels = InstructionSet.current.kernels
    let reader = try RecurrenceReader(call, kernels)
    let (k, v) = (reader.keyDimension, reader.valueDimension)
    let tensors = try Tensor.filling([
      (shape: call.outputShape, dtype: call.problem.dtype),
      (shape: call.stateShape, dtype: .float32),
    ]) { pointers in
      let output = try TokenRowsOutput(pointers[0], call.outputShape, call.problem.dtype, kernels)
      let finalStates = pointers[1].assumingMemoryBound(to: Float.self)
      try Threads.tryForEach(call.problem.recurrences) { index in
        let state = finalStates + index * k * v
        try call.copyInitialState(index, to: state)
        let buffers = try Buffers(call.problem)
        for piece in call.pieces(ofRecurrence: index, length: Self.blockLength) {
          reader.loadQueries(piece, to: buffers.queries, raw: buffers.raw, norms: buffers.norms)
          reader.loadKeys(piece, to: buffers.keys, raw: buffers.raw, norms: buffers.norms)
          reader.loadValues(piece, to: buffers.values)
          reader.loadDecay(piece, to: buffers.decay)
          for t in 0..<piece.count {
            kernels.additive_step(
              k, v, buffers.queries + t * k, buffers.keys + t * k, buffers.values + t * v,
              buffers.decay + t * reader.decayWidth, reader.decayWidth > 1 ? 1 : 0, state, state,
              buffers.output + t * v)
          }
          output.store(
            row: piece.row, tokens: piece.tokens, head: piece.head, from: buffers.output)
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

  /// A block of tokens in float32.
  private struct Buffers {
    let scratch: Scratch
    /// [block, k] each; `raw` for what normalisation reads.
    let queries, keys, raw: UnsafeMutablePointer<Float>
    /// [block, v] each
    let values, output: UnsafeMutablePointer<Float>
    /// [block, 1 or k], ones without decay
    let decay: UnsafeMutablePointer<Float>
    /// [block]
    let norms: UnsafeMutablePointer<Float>

    static func size(_ problem: LinearProblem) -> Int {
      let block = min(blockLength, problem.length)
      return block * (4 * problem.keyDimension + 2 * problem.valueDimension + 1)
    }

    init(_ problem: LinearProblem) throws {
      let block = min(blockLength, problem.length)
      let (k, v) = (problem.keyDimension, problem.valueDimension)
      scratch = try Scratch(floats: Self.size(problem))
      queries = scratch.base
      keys = queries + block * k
      raw = keys + block * k
      decay = raw + block * k
      values = decay + block * k
      output = values + block * v
      norms = output + block * v
      decay.update(repeating: 1, count: block * k)
    }
  }
}
