import AttentionCPUKernels
import AttentionTensors

/// ``ChunkedKernel`` with every sequence cut into pieces that are computed in parallel, for few
/// heads and long sequences: first the pieces' effects on the state, then, with their states
/// merged, everything. Updates of the state are therefore computed twice and, if tokens erase, also
/// those of a state with a column for each of its rows.
struct SplitKernel: LinearKernel {
  let name = "cpu.split"

  /// The fewest tokens of a piece.
  static let shortestPiece = 512
  /// The number of pieces beyond which more would not occupy a machine better.
  static let mostPieces = 64
  private static let overhead = 2e-5

  /// The largest number of tokens of a piece.
  private static func pieceLength(_ problem: LinearProblem) -> Int {
    let chunk = ChunkScores.length
    let tokens = problem.batch * problem.length * problem.valueHeads
    let even = (tokens + mostPieces - 1) / mostPieces
    return max(shortestPiece, (even + chunk - 1) / chunk * chunk)
  }

  func objection(to problem: LinearProblem) -> Objection? {
    if let objection = ChunkedKernel.objection(to: problem) { return objection }
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
    let shape = ChunkShape(problem)
    let length = Self.pieceLength(problem)
    let tokens = problem.batch * problem.length
    let pieces = max(problem.recurrences, tokens * problem.valueHeads / length)
    let solving =
      shape.operations(advancing: shape.v)
      + (shape.erases ? shape.operations(advancing: shape.k) : 0)
    var cost = ChunkedKernel.cost(
      of: problem, pieces: pieces, length: length,
      extraOperations: problem.needsGradient ? 2 * solving + shape.retreatOperations : solving)
    let states = problem.needsGradient ? 2 : 1
    cost.extraMemory +=
      pieces * (states * shape.k * shape.v + SplitStates.mapSize(shape)) * MemoryLayout<Float>.size
    cost.overhead = Self.overhead
    cost.note =
      "\(problem.recurrences) sequences and heads cut into \(pieces) pieces of \(length) tokens"
    return cost
  }

  func forward(_ call: LinearArguments) throws -> LinearOutputs {
    let passes = try ChunkedPasses(call)
    let pieces = SequencePieces(call, tokens: Self.pieceLength(call.problem))
    return try passes.forward { finalStates, output in
      let states = try SplitStates(passes, pieces, needsAllMaps: false).before
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
    let passes = try ChunkedPasses(call)
    let pieces = SequencePieces(call, tokens: Self.pieceLength(call.problem))
    return try passes.backward(pieces, incoming) { gradients in
      let split = try SplitStates(passes, pieces, needsAllMaps: true)
      let after = try split.gradientsAfter(gradients.finalState, incoming: gradients.incoming)
      try passes.run(pieces, states: split.before.base, gradients: after.base, gradients)
      for (index, piece) in pieces.all.enumerated() where piece.isFirst {
        (gradients.initialState + piece.recurrence * call.stateSize).update(
          from: after.base + index * call.stateSize, count: call.stateSize)
      }
    }
  }
}
