import CPUKernels
import Tensors

/// The additive recurrence token by token in float32, forward only: for decoding, where a call has
/// one token or a few.
struct AdditiveStep: LinearKernel {
  let name = "cpu.step"

  /// Tokens that are read at once.
  private static let blockLength = 64
  /// Elements of states times tokens that are worth a thread's attention.
  private static let groupWork = 1 << 15
  /// Operations for each element of the state and token.
  private static let operations = 5
  /// Each element of the state is loaded and stored for five operations.
  private static let efficiency = 0.3

  func objection(to problem: LinearProblem) -> Objection? {
    if problem.update != .additive {
      return Objection("the update is \(problem.update.rawValue); this kernel only adds")
    }
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
    let group = Self.groupSize(problem)
    let pieces = (problem.recurrences + group - 1) / group
    return Cost(
      operations: Double(tokens) * Double(state) * Double(Self.operations),
      bytes: problem.bytes,
      extraMemory: min(pieces, Threads.count) * Self.block(problem)
        * (7 * problem.keyDimension + 2 * problem.valueDimension + 2)
        * MemoryLayout<Float>.size,
      efficiency: Self.efficiency, overhead: 2e-6, pieces: pieces)
  }

  func forward(_ call: LinearCall) throws -> LinearOutputs {
    let kernels = InstructionSet.current.kernels
    let reader = try RecurrenceReader(call, kernels)
    let problem = call.problem
    let stateSize = problem.keyDimension * problem.valueDimension
    // Small recurrences are done several by one thread.
    let group = Self.groupSize(problem)
    let tensors = try Tensor.filling([
      (shape: call.outputShape, dtype: problem.dtype),
      (shape: call.stateShape, dtype: .float32),
    ]) { pointers in
      let output = try TokenRowsOutput(pointers[0], call.outputShape, problem.dtype, kernels)
      let states = pointers[1].assumingMemoryBound(to: Float.self)
      try Threads.tryForEach((problem.recurrences + group - 1) / group) { index in
        let stepper = try Stepper(reader, kernels, length: Self.block(problem))
        for recurrence in index * group..<min((index + 1) * group, problem.recurrences) {
          let state = states + recurrence * stateSize
          let pieces = call.pieces(ofRecurrence: recurrence, length: Self.block(problem))
          try call.withInitialState(recurrence) { initial in
            // The first token reads the initial state where it lies.
            if initial == nil || pieces.isEmpty { try call.copyInitialState(recurrence, to: state) }
            var before = initial ?? UnsafePointer(state)
            for piece in pieces {
              stepper.run(piece, from: before, state, to: output)
              before = UnsafePointer(state)
            }
          }
        }
      }
    }
    return LinearOutputs(output: tensors[0], finalState: tensors[1])
  }

  /// Tokens that are read at once.
  private static func block(_ problem: LinearProblem) -> Int {
    max(1, min(blockLength, problem.length))
  }

  /// Recurrences that one piece of work takes.
  private static func groupSize(_ problem: LinearProblem) -> Int {
    let work = problem.keyDimension * problem.valueDimension * max(1, problem.length)
    return max(1, groupWork / work)
  }

  func backward(
    _ call: LinearCall, outputGradient: Tensor?, finalStateGradient: Tensor?
  ) throws -> LinearGradients {
    throw AttentionError.kernelObjects(
      name, Objection("gradients asked for; this kernel runs forward only"))
  }
}

/// Steps one recurrence after the other through the tokens of a piece.
private struct Stepper {
  let reader: RecurrenceReader
  let kernels: cpu_kernels
  let tokens: ChunkTokens
  let scratch: Scratch
  /// [block, v]
  let output: UnsafeMutablePointer<Float>
  /// [block, 1 or k] each: the decay in two parts.
  let whole, rest: UnsafeMutablePointer<Float>

  init(_ reader: RecurrenceReader, _ kernels: cpu_kernels, length: Int) throws {
    self.reader = reader
    self.kernels = kernels
    tokens = try ChunkTokens(reader, length: length)
    scratch = try Scratch(floats: length * (reader.valueDimension + 2 * reader.keyDimension))
    output = scratch.base
    whole = output + length * reader.valueDimension
    rest = whole + length * reader.keyDimension
  }

  /// - Parameters:
  ///   - before: the state [k, v] before the piece.
  ///   - state: [k, v]: the state after it; may be `before`.
  func run(
    _ piece: RecurrenceReader.Piece, from before: UnsafePointer<Float>,
    _ state: UnsafeMutablePointer<Float>, to target: TokenRowsOutput
  ) {
    let (k, v) = (reader.keyDimension, reader.valueDimension)
    tokens.loadQueries(piece)
    tokens.loadWrites(piece)
    kernels.decay_split(piece.count * max(1, reader.decayWidth), tokens.decay, whole, rest)
    for t in 0..<piece.count {
      let decay = t * reader.decayWidth
      kernels.additive_step(
        k, v, tokens.queries + t * k, tokens.keys + t * k, tokens.values + t * v, whole + decay,
        rest + decay, reader.decayIsByChannel ? 1 : 0, t == 0 ? before : UnsafePointer(state),
        state, output + t * v)
    }
    target.store(row: piece.row, tokens: piece.tokens, head: piece.head, from: output)
  }
}
