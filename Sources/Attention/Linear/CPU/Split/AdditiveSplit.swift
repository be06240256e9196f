import AttentionCPUKernels
import AttentionTensors

/// ``AdditiveChunked`` with every sequence cut into pieces that are worked on at the same time, for
/// few heads and long sequences: the state's updates of all pieces first, then, with the states put
/// together, everything. The updates are computed twice for it.
struct AdditiveSplit: LinearKernel {
  let name = "cpu.split"

  /// A piece is at least this many tokens.
  static let shortestPiece = 512
  /// More pieces keep no machine busier.
  static let mostPieces = 64
  /// Products with the state that pieces cost beyond those of a whole sequence: the updates, and in
  /// the backward pass those of the gradient too.
  private static let forwardProducts = 1
  private static let gradientProducts = 3
  private static let overhead = 2e-5

  /// The most tokens of a piece.
  private static func pieceLength(_ problem: LinearProblem) -> Int {
    let chunk = ChunkScores.length
    let tokens = problem.batch * problem.length * problem.valueHeads
    let even = (tokens + mostPieces - 1) / mostPieces
    return max(shortestPiece, (even + chunk - 1) / chunk * chunk)
  }

  func objection(to problem: LinearProblem) -> Objection? {
    if let objection = AdditiveChunked.objection(to: problem) { return objection }
    if problem.recurrences >= Self.mostPieces {
      return Objection(
        "\(problem.recurrences) sequences and heads are enough pieces of work uncut")
    }
    let length = Self.pieceLength(problem)
    return problem.length <= length
      ? Objection("a sequence of \(problem.length) tokens is one piece: pieces have \(length)")
      : nil
  }

  func cost(of problem: LinearProblem) -> Cost {
    let length = Self.pieceLength(problem)
    let tokens = problem.batch * problem.length
    let pieces = max(problem.recurrences, tokens * problem.valueHeads / length)
    var cost = AdditiveChunked.cost(
      of: problem, pieces: pieces, length: length,
      extraProducts: problem.needsGradient ? Self.gradientProducts : Self.forwardProducts)
    let states = problem.needsGradient ? 2 : 1
    cost.extraMemory +=
      states * pieces * problem.keyDimension * (problem.valueDimension + 1)
      * MemoryLayout<Float>.size
    cost.overhead = Self.overhead
    cost.note =
      "\(problem.recurrences) sequences and heads cut into \(pieces) pieces of \(length) tokens"
    return cost
  }

  func forward(_ call: LinearArguments) throws -> LinearOutputs {
    let passes = try AdditivePasses(call)
    let pieces = SequencePieces(call, tokens: Self.pieceLength(call.problem))
    return try passes.forward { finalStates, output in
      let states = try SplitStates(
        call, pieces, AdditivePieceSolver(passes), needsAllMaps: false
      ).before
      try passes.run(pieces, states: states.base, to: output)
      for (index, piece) in pieces.all.enumerated() where piece.isLast {
        (finalStates + piece.recurrence * call.stateSize).update(
          from: states.base + index * call.stateSize, count: call.stateSize)
      }
    }
  }

  func backward(
    _ call: LinearArguments, _ outputs: LinearOutputs, _ incoming: LinearOutputs
  ) throws -> LinearGradients {
    let (outputGradient, finalStateGradient) = (incoming[.output], incoming[.finalState])
    let passes = try AdditivePasses(call)
    let pieces = SequencePieces(call, tokens: Self.pieceLength(call.problem))
    return try passes.backward(
      pieces, outputGradient: outputGradient, finalStateGradient: finalStateGradient
    ) { gradients in
      let split = try SplitStates(
        call, pieces, AdditivePieceSolver(passes), needsAllMaps: true)
      let after = try split.gradientsAfter(gradients.finalState, incoming: gradients.incoming)
      try passes.run(pieces, states: split.before.base, gradients: after.base, gradients)
      for (index, piece) in pieces.all.enumerated() where piece.isFirst {
        (gradients.initialState + piece.recurrence * call.stateSize).update(
          from: after.base + index * call.stateSize, count: call.stateSize)
      }
    }
  }
}

/// The additive recurrence over a piece: M is diagonal, e^Γ with Γ the sum of the decay's
/// logarithms.
struct AdditivePieceSolver: PieceSolver {
  private let passes: AdditivePasses
  private let kernels: cpu_kernels
  private let (k, v): (Int, Int)

  init(_ passes: AdditivePasses) {
    self.passes = passes
    kernels = passes.kernels
    (k, v) = (passes.reader.keyDimension, passes.reader.valueDimension)
  }

  var mapSize: Int { k }

  func solve(_ chunks: [RecurrenceReader.Piece], map: Rows, end: Rows?) throws {
    let reader = passes.reader
    let width = max(1, reader.decayWidth)
    let decay = try Scratch(floats: ChunkScores.length * width)
    map.update(repeating: 0, count: k)
    if reader.decayWidth > 0 {
      for chunk in chunks {
        reader.loadDecay(chunk, to: decay.base)
        for t in 0..<chunk.count { kernels.axpy(width, 1, decay.base + t * width, map) }
      }
      if width == 1 { map.update(repeating: map[0], count: k) }
    }
    kernels.unary_f32(CPU_EXP, k, map, map)
    guard let end else { return }
    end.update(repeating: 0, count: k * v)
    try ChunkedForward(reader, passes.product).advance(chunks, end)
  }

  func solveGradient(
    _ chunks: [RecurrenceReader.Piece], incoming: TokenRows, start: Rows
  ) throws {
    start.update(repeating: 0, count: k * v)
    try ChunkedForward(passes.reader, passes.product).retreat(
      chunks, start, incoming: incoming)
  }

  func carry(_ map: UnsafePointer<Float>, _ before: UnsafePointer<Float>, addingTo after: Rows) {
    for d in 0..<k { kernels.axpy(v, map[d], before + d * v, after + d * v) }
  }

  func carryBack(
    _ map: UnsafePointer<Float>, _ after: UnsafePointer<Float>, addingTo before: Rows
  ) {
    carry(map, after, addingTo: before)
  }
}
