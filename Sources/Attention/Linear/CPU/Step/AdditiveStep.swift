import AttentionCPUKernels
import AttentionTensors

/// The additive recurrence token by token in float32, forward only: for decoding, where a call has
/// one token or a few.
struct AdditiveStep: LinearKernel {
  let name = "cpu.step"

  /// Operations for each element of the state and token.
  private static let operations = 5
  /// Each element of the state is loaded and stored for five operations.
  private static let efficiency = 0.3

  func objection(to problem: LinearProblem) -> Objection? {
    if problem.update.isErasing {
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
    let plan = StepPlan(problem)
    return Cost(
      operations: Double(tokens) * Double(state) * Double(Self.operations),
      bytes: problem.bytes,
      extraMemory: min(plan.groups, Threads.count) * plan.block
        * (7 * problem.keyDimension + 2 * problem.valueDimension + 2)
        * MemoryLayout<Float>.size,
      efficiency: Self.efficiency, overhead: 2e-6, pieces: plan.groups)
  }

  func forward(_ call: LinearArguments) throws -> LinearOutputs {
    let kernels = InstructionSet.current.kernels
    let reader = try RecurrenceReader(call, kernels)
    return try StepPlan(call.problem).forward(call, kernels) { block in
      try AdditiveStepper(call, reader, kernels, length: block)
    }
  }

  func backward(
    _ call: LinearArguments, _ outputs: LinearOutputs, _ incoming: LinearOutputs
  ) throws -> LinearGradients {
    throw AttentionError.kernelObjects(
      name, Objection("gradients asked for; this kernel runs forward only"))
  }
}

/// Steps one recurrence after the other through the tokens of a piece.
private struct AdditiveStepper: TokenStepper {
  let call: LinearArguments
  let reader: RecurrenceReader
  let kernels: cpu_kernels
  let tokens: ChunkTokens
  let scratch: Scratch
  /// [hᵥ, k]
  let bonus: HostElements?
  /// [block, v]
  let output: UnsafeMutablePointer<Float>
  /// [block, 1 or k] each: the decay in two parts.
  let whole, rest: UnsafeMutablePointer<Float>

  init(
    _ call: LinearArguments, _ reader: RecurrenceReader, _ kernels: cpu_kernels, length: Int
  ) throws {
    self.call = call
    self.reader = reader
    self.kernels = kernels
    tokens = try ChunkTokens(reader, length: length)
    bonus = try call.bonusElements()
    scratch = try Scratch(floats: length * (reader.valueDimension + 2 * reader.keyDimension))
    output = scratch.base
    whole = output + length * reader.valueDimension
    rest = whole + length * reader.keyDimension
  }

  func run(
    _ piece: RecurrenceReader.Piece, from before: UnsafePointer<Float>,
    _ state: UnsafeMutablePointer<Float>, pastCaches: Int32, to target: TokenRowsOutput
  ) {
    tokens.loadQueries(piece)
    tokens.loadWrites(piece)
    kernels.decay_split(
      piece.count * max(1, reader.decayWidth), tokens.decay, whole, rest)
    step(
      piece.count, from: before, state, pastCaches: pastCaches,
      bonus: bonus.map {
        $0.base.assumingMemoryBound(to: Float.self) + piece.head * reader.keyDimension
      })
    target.store(row: piece.row, tokens: piece.tokens, head: piece.head, from: output)
  }

  /// - Parameter bonus: `[k]`, where queries read the state before their token.
  private func step(
    _ count: Int, from before: UnsafePointer<Float>, _ state: UnsafeMutablePointer<Float>,
    pastCaches: Int32, bonus: UnsafePointer<Float>?
  ) {
    let (k, v) = (reader.keyDimension, reader.valueDimension)
    for t in 0..<count {
      let decay = t * reader.decayWidth
      let (query, key, value) = (tokens.queries + t * k, tokens.keys + t * k, tokens.values + t * v)
      let byChannel = reader.decayIsByChannel ? 1 : 0
      let before = t == 0 ? before : UnsafePointer(state)
      let past = t == count - 1 ? pastCaches : 0
      if let bonus {
        kernels.additive_step_before(
          past, k, v, query, key, value, bonus, whole + decay, rest + decay, byChannel, before,
          state,
          output + t * v)
      } else {
        kernels.additive_step(
          past, k, v, query, key, value, whole + decay, rest + decay, byChannel, before, state,
          output + t * v)
      }
    }
  }
}
