import AttentionCPUKernels
import AttentionTensors

/// Linear attention token by token in float32, forward only: for decoding, where a call has one token or a
/// few.
struct StepKernel: LinearKernel {
  /// Whether it runs the erasing updates, or the additive ones.
  let erases: Bool

  var name: String { erases ? "cpu.erasing.step" : "cpu.step" }

  /// Operations per element of the state and token, without those of erasing reads.
  private static let operations = 5
  private static let readOperations = 2
  /// Each element of the state is loaded and stored for these operations.
  private static let efficiency = 0.3
  private static let gradientObjection = Objection("computes no gradients")

  func objection(to problem: LinearProblem) -> Objection? {
    ChunkedKernel(erases: erases).objection(to: problem)
      ?? (problem.needsGradient ? Self.gradientObjection : nil)
  }

  func cost(of problem: LinearProblem) -> Cost {
    let shape = ChunkShape(problem)
    let tokens = problem.batch * problem.length * problem.valueHeads
    let plan = StepPlan(problem)
    let perElement = Self.operations + (erases ? Self.readOperations : 0)
    return Cost(
      operations: Double(tokens) * Double(shape.k * shape.v) * Double(perElement),
      bytes: problem.bytes,
      extraMemory: min(plan.groups, Threads.count)
        * Arena.size { TokenStepper(shape, length: plan.block, &$0) } * MemoryLayout<Float>.size,
      efficiency: Self.efficiency, overhead: 2e-6, pieces: plan.groups)
  }

  func forward(_ call: LinearArguments) throws -> LinearOutputs {
    let shape = ChunkShape(call.problem)
    let reader = try RecurrenceReader(call, shape.kernels)
    let bonus = try call.bonusElements()
    return try StepPlan(call.problem).forward(call, shape.kernels) { block in
      let stepper = try Arena.place { TokenStepper(shape, length: block, &$0) }
      stepper.read(reader, bonus)
      return stepper
    }
  }

  func backward(
    _ call: LinearArguments, _ outputs: LinearOutputs, _ incoming: LinearOutputs
  ) throws -> LinearGradients {
    throw AttentionError.kernelObjects(name, Self.gradientObjection)
  }
}

/// Runs recurrences, one after the other, over the tokens of a piece.
final class TokenStepper {
  typealias Rows = UnsafeMutablePointer<Float>

  private let memory: Scratch?
  private let shape: ChunkShape
  private let kernels: cpu_kernels
  private let (k, v): (Int, Int)
  private let tokens: ChunkTokens
  /// [hᵥ, k]
  private var bonus: HostElements?
  /// [block, v] each: the output, and u of a low rank.
  private let output, found: Rows
  /// [block, 1 or k] each: the decay in two parts, and whole.
  private let whole, rest, factors: Rows

  /// - Parameter length: the largest number of tokens of a piece.
  init(_ shape: ChunkShape, length: Int, _ arena: inout Arena) {
    memory = arena.memory
    self.shape = shape
    kernels = shape.kernels
    (k, v) = (shape.k, shape.v)
    tokens = ChunkTokens(shape, length: length, looksAhead: false, &arena)
    output = arena.take(length * v)
    found = arena.take(shape.isLowRank ? length * v : 0)
    let width = length * max(1, shape.decayWidth)
    (whole, rest) = (arena.take(width), arena.take(width))
    factors = arena.take(shape.erases ? width : 0)
  }

  func read(_ reader: RecurrenceReader, _ bonus: HostElements?) {
    tokens.read(reader)
    self.bonus = bonus
  }

  /// - Parameters:
  ///   - before: the state [k, v] before the piece.
  ///   - state: `[k, v]`: the state after it; may be `before`.
  ///   - pastCaches: whether the state after the piece's last token is written with non-temporal
  ///     stores.
  func run(
    _ piece: RecurrenceReader.Piece, from before: UnsafePointer<Float>, _ state: Rows,
    pastCaches: Int32, to target: TokenRowsOutput
  ) {
    tokens.load(piece, .everything)
    kernels.decay_split(piece.count * max(1, shape.decayWidth), tokens.decay, whole, rest)
    if shape.isLowRank {
      found.update(repeating: 0, count: piece.count * v)
    } else if shape.erases {
      decayReads(piece.count)
    }
    for t in 0..<piece.count {
      step(
        t, head: piece.head, from: t == 0 ? before : UnsafePointer(state), state,
        pastCaches: t == piece.count - 1 ? pastCaches : 0)
    }
    target.store(row: piece.row, tokens: piece.tokens, head: piece.head, from: output)
  }

  /// Token `t` of the piece.
  private func step(
    _ t: Int, head: Int, from before: UnsafePointer<Float>, _ state: Rows, pastCaches: Int32
  ) {
    let (key, value, decay) = (t * k, t * v, t * shape.decayWidth)
    let stride = shape.decayWidth > 1 ? 1 : 0
    let written = (shape.isLowRank ? found : tokens.sources) + value
    if shape.erases {
      // u = source + what r finds
      kernels.product_rows(
        CPU_F32, 1, 1, v, k, tokens.readKeys + key, 0, k, before, 0, v, written, 0, v)
    }
    if shape.isLowRank {
      kernels.low_rank_step(
        pastCaches, k, v, tokens.queries + key, tokens.writeKeys + key, written,
        tokens.keys + key, tokens.values + value, whole + decay, rest + decay, stride, before,
        state, output + value)
    } else if let bonus {
      kernels.additive_step_before(
        pastCaches, k, v, tokens.queries + key, tokens.keys + key, written,
        bonus.base.assumingMemoryBound(to: Float.self) + head * k, whole + decay, rest + decay,
        stride, before, state, output + value)
    } else {
      kernels.additive_step(
        pastCaches, k, v, tokens.queries + key, tokens.keys + key, written, whole + decay,
        rest + decay, stride, before, state, output + value)
    }
  }

  /// r reads the decayed state: D S₋ read by r is S₋ read by D r.
  private func decayReads(_ count: Int) {
    let width = shape.decayWidth
    guard width > 0 else { return }
    kernels.unary_f32(CPU_EXP, count * width, tokens.decay, factors)
    if width == 1 {
      kernels.scale_rows(count, k, factors, 1, tokens.readKeys, k)
    } else {
      kernels.binary_f32(
        CPU_MULTIPLY, count * k, tokens.readKeys, 1, factors, 1, tokens.readKeys)
    }
  }
}
