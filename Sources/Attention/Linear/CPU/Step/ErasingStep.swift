import AttentionCPUKernels
import AttentionTensors

/// Erasing recurrences token by token in float32, forward only: for decoding, where a call has one
/// token or a few.
struct ErasingStep: LinearKernel {
  let name = "cpu.erasing.step"

  /// Operations for each element of the state and token: what is read, then as the additive step.
  private static let operations = 7
  /// Each element of the state is loaded twice and stored.
  private static let efficiency = 0.3

  func objection(to problem: LinearProblem) -> Objection? {
    if !problem.update.isErasing {
      return Objection("the update is \(problem.update.rawValue); this kernel erases")
    }
    if problem.dtype == .float64 {
      return Objection("queries are float64; this kernel computes in float32")
    }
    return problem.needsGradient ? Self.gradientObjection : nil
  }

  private static let gradientObjection = Objection(
    "gradients asked for; this kernel runs forward only")

  func cost(of problem: LinearProblem) -> Cost {
    let state = problem.keyDimension * problem.valueDimension
    let tokens = problem.batch * problem.length * problem.valueHeads
    let plan = StepPlan(problem)
    return Cost(
      operations: Double(tokens) * Double(state) * Double(Self.operations),
      bytes: problem.bytes,
      extraMemory: min(plan.groups, Threads.count)
        * (ErasingTokens.size(
          plan.block, keyDimension: problem.keyDimension, valueDimension: problem.valueDimension)
          + ErasingStepper.ownSize(problem, plan.block)) * MemoryLayout<Float>.size,
      efficiency: Self.efficiency, overhead: 2e-6, pieces: plan.groups)
  }

  func forward(_ call: LinearArguments) throws -> LinearOutputs {
    let kernels = InstructionSet.current.kernels
    let reader = try ErasingReader(call, kernels)
    return try StepPlan(call.problem).forward(call, kernels) { block in
      try ErasingStepper(reader, kernels, call.problem, length: block)
    }
  }

  func backward(
    _ call: LinearArguments, _ outputs: LinearOutputs, _ incoming: LinearOutputs
  ) throws -> LinearGradients {
    throw AttentionError.kernelObjects(name, Self.gradientObjection)
  }
}

/// Steps an erasing recurrence through the tokens of a piece.
private struct ErasingStepper: TokenStepper {
  private let kernels: cpu_kernels
  private let (k, v): (Int, Int)
  private let tokens: ErasingTokens
  private let scratch: Scratch
  /// [block, v]
  private let output: UnsafeMutablePointer<Float>
  /// [block, 1 or k] each: the decay, whole and in two parts.
  private let factors, whole, rest: UnsafeMutablePointer<Float>

  static func ownSize(_ problem: LinearProblem, _ block: Int) -> Int {
    block * (problem.valueDimension + 3 * problem.keyDimension)
  }

  init(
    _ reader: ErasingReader, _ kernels: cpu_kernels, _ problem: LinearProblem, length: Int
  ) throws {
    self.kernels = kernels
    (k, v) = (problem.keyDimension, problem.valueDimension)
    tokens = try ErasingTokens(reader, kernels, length: length)
    scratch = try Scratch(floats: Self.ownSize(problem, length))
    output = scratch.base
    factors = output + length * v
    whole = factors + length * k
    rest = whole + length * k
  }

  func run(
    _ piece: RecurrenceReader.Piece, from before: UnsafePointer<Float>,
    _ state: UnsafeMutablePointer<Float>, pastCaches: Int32, to target: TokenRowsOutput
  ) {
    let reader = tokens.reader
    let width = reader.tokens.decayWidth
    let rows = tokens.tokens
    rows.loadQueries(piece)
    tokens.loadWrites(piece)
    kernels.decay_split(piece.count * max(1, width), rows.decay, whole, rest)
    if reader.isLowRank {
      tokens.sources.update(repeating: 0, count: piece.count * v)
    } else {
      decayReads(piece.count)
    }
    for t in 0..<piece.count {
      let before = t == 0 ? before : UnsafePointer(state)
      let (key, value, decay) = (t * k, t * v, t * width)
      // u = source + what r finds.
      let found = tokens.sources + value
      kernels.product_rows(
        CPU_F32, 1, 1, v, k, tokens.readKeys + key, 0, k, before, 0, v, found, 0, v)
      let stride = reader.tokens.decayIsByChannel ? 1 : 0
      let past = t == piece.count - 1 ? pastCaches : 0
      if reader.isLowRank {
        kernels.low_rank_step(
          past, k, v, rows.queries + key, tokens.writeKeys + key, found, rows.keys + key,
          rows.values + value, whole + decay, rest + decay, stride, before, state, output + value)
      } else {
        kernels.additive_step(
          past, k, v, rows.queries + key, rows.keys + key, found, whole + decay, rest + decay,
          stride,
          before, state, output + value)
      }
    }
    target.store(row: piece.row, tokens: piece.tokens, head: piece.head, from: output)
  }

  /// r reads the decayed state: D S₋ read by r is S₋ read by D r.
  private func decayReads(_ count: Int) {
    let width = tokens.reader.tokens.decayWidth
    guard width > 0 else { return }
    kernels.unary_f32(CPU_EXP, count * width, tokens.tokens.decay, factors)
    if width == 1 {
      kernels.scale_rows(count, k, factors, 1, tokens.readKeys, k)
    } else {
      kernels.binary_f32(
        CPU_MULTIPLY, count * k, tokens.readKeys, 1, factors, 1, tokens.readKeys)
    }
  }
}
