import AttentionTensors

/// Linear attention by ``LinearRecurrence``: the definition in float64, forward and backward: slow, and what
/// other kernels are tested against.
struct LinearReference: LinearKernel {
  let name = "cpu.reference"

  /// Scalar float64 relative to the peak rate of the vector units.
  private static let efficiency = 0.01
  /// Operations per token and element of the state.
  private static let forwardOperations = 5
  private static let gradientOperations = 16

  func objection(to problem: LinearProblem) -> Objection? { nil }

  func cost(of problem: LinearProblem) -> Cost {
    let state = problem.keyDimension * problem.valueDimension
    let tokens = problem.batch * problem.length * problem.valueHeads
    let width = 3 * problem.keyDimension + 2 * problem.valueDimension
    let operations =
      Self.forwardOperations + (problem.needsGradient ? Self.gradientOperations : 0)
    let states = problem.needsGradient ? tokens : problem.recurrences
    return Cost(
      operations: Double(tokens) * Double(state) * Double(operations), bytes: problem.bytes,
      extraMemory: (tokens * width + states * state) * MemoryLayout<Double>.size,
      efficiency: Self.efficiency, overhead: 1e-5, pieces: problem.recurrences)
  }

  func forward(_ call: LinearArguments) throws -> LinearOutputs {
    let arrays = try CallArrays(call)
    let results = arrays.mapRecurrences { arrays.recurrence($0).forward() }
    return LinearOutputs(
      output: try arrays.tokens(results.map(\.output), call.problem.valueDimension)
        .cast(to: call.problem.dtype),
      finalState: try arrays.states(results.map(\.finalState)).cast(to: call.stateDType))
  }

  func backward(
    _ call: LinearArguments, _ outputs: LinearOutputs, _ incoming: LinearOutputs
  ) throws -> LinearGradients {
    let arrays = try CallArrays(call)
    let outputGradient = try (incoming[.output] ?? .zeros(call.outputShape)).elements(
      as: Double.self)
    let stateGradient = try (incoming[.finalState] ?? .zeros(call.stateShape))
      .elements(as: Double.self)
    let (k, v) = (call.problem.keyDimension, call.problem.valueDimension)
    let results = arrays.mapRecurrences { index in
      let recurrence = arrays.recurrence(index)
      var gradients = recurrence.backward(
        arrays.rows(index, of: outputGradient, v), arrays.state(index, of: stateGradient))
      if call.problem.normalizesQueriesAndKeys {
        gradients.queries = arrays.throughNormalization(
          gradients.queries, arrays.queryRows(index, of: arrays.queries))
        gradients.keys = arrays.throughNormalization(
          gradients.keys, arrays.queryRows(index, of: arrays.keys))
      }
      return gradients
    }
    var decay: Tensor?
    if let shared = call.decay {
      decay = try arrays.tokens(results.map(\.decay), k)
      if shared.shape[3] != k { decay = try decay?.sum([3], keepsAxes: true) }
    }
    return LinearGradients(
      of: call, queries: try arrays.tokens(results.map(\.queries), k),
      keys: try arrays.tokens(results.map(\.keys), k),
      values: try arrays.tokens(results.map(\.values), v), decay: decay,
      update: try arrays.update(results.map(\.update)),
      initialState: call.initialState == nil
        ? nil : try arrays.states(results.map(\.initialState)))
  }
}
