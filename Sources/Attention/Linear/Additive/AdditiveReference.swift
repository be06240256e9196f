import Synchronization
import Tensors

/// Linear attention by ``AdditiveRecurrence``: the definition in float64, forward and backward. It
/// says what right means for the other kernels, and is slow.
struct AdditiveReference: LinearKernel {
  let name = "cpu.reference"

  /// Scalar float64 against the peak of the vector units.
  private static let efficiency = 0.01
  /// Operations for each element of the state and token.
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

  func forward(_ call: LinearCall) throws -> LinearOutputs {
    let arrays = try CallArrays(call)
    let results = arrays.mapRecurrences { arrays.recurrence($0).forward() }
    return LinearOutputs(
      output: try arrays.tokens(results.map(\.output), call.problem.valueDimension)
        .cast(to: call.problem.dtype),
      finalState: try arrays.states(results.map(\.finalState)).cast(to: call.stateDType))
  }

  func backward(
    _ call: LinearCall, outputGradient: Tensor?, finalStateGradient: Tensor?
  ) throws -> LinearGradients {
    let arrays = try CallArrays(call)
    let outputGradient = try (outputGradient ?? .zeros(call.outputShape)).elements(as: Double.self)
    let stateGradient = try (finalStateGradient ?? .zeros(call.stateShape))
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
      queries: try arrays.tokens(results.map(\.queries), k),
      keys: try arrays.tokens(results.map(\.keys), k),
      values: try arrays.tokens(results.map(\.values), v), decay: decay,
      initialState: call.initialState == nil
        ? nil : try arrays.states(results.map(\.initialState)))
  }
}

/// The tensors of a call as float64 arrays, and the rows of each recurrence in them.
private struct CallArrays: Sendable {
  let call: LinearCall
  let queries: [Double]
  let keys: [Double]
  let values: [Double]
  let decay: [Double]?
  let initialState: [Double]?

  init(_ call: LinearCall) throws {
    self.call = call
    queries = try call.queries.elements(as: Double.self)
    keys = try call.keys.elements(as: Double.self)
    values = try call.values.elements(as: Double.self)
    decay = try call.decay?.elements(as: Double.self)
    initialState = try call.initialState?.elements(as: Double.self)
  }

  private var problem: LinearProblem { call.problem }

  /// Recurrence `index` is sequence `index` ÷ hv and head `index` mod hv.
  private func place(_ index: Int) -> (sequence: LinearCall.Sequence, head: Int) {
    (call.sequences[index / problem.valueHeads], index % problem.valueHeads)
  }

  func mapRecurrences<R: Sendable>(_ body: (Int) -> R) -> [R] {
    let results = Mutex([R?](repeating: nil, count: problem.recurrences))
    Threads.forEach(problem.recurrences) { index in
      let result = body(index)
      results.withLock { $0[index] = result }
    }
    return results.withLock { $0.compactMap { $0 } }
  }

  func recurrence(_ index: Int) -> AdditiveRecurrence {
    let (k, v) = (problem.keyDimension, problem.valueDimension)
    let length = place(index).sequence.tokens.count
    var queries = queryRows(index, of: queries)
    var keys = queryRows(index, of: keys)
    if problem.normalizesQueriesAndKeys {
      queries = normalized(queries)
      keys = normalized(keys)
    }
    var decayRows = [Double](repeating: 0, count: length * k)
    if let decay, let width = call.decay?.shape[3] {
      let own = rows(index, of: decay, width)
      decayRows = (0..<length * k).map { width == k ? own[$0] : own[$0 / k] }
    }
    return AdditiveRecurrence(
      length: length, keyDimension: k, valueDimension: v, scale: call.scale, queries: queries,
      keys: keys, values: rows(index, of: values, v), decay: decayRows,
      initialState: initialState.map { state(index, of: $0) }
        ?? [Double](repeating: 0, count: k * v))
  }

  /// The tokens of a recurrence from [b, t, hv, width].
  func rows(_ index: Int, of array: [Double], _ width: Int) -> [Double] {
    let (sequence, head) = place(index)
    return sequence.tokens.flatMap { token in
      let start = ((sequence.row * problem.length + token) * problem.valueHeads + head) * width
      return array[start..<start + width]
    }
  }

  /// The tokens of a recurrence's query head from [b, t, h, k].
  func queryRows(_ index: Int, of array: [Double]) -> [Double] {
    let (sequence, head) = place(index)
    let (h, k) = (problem.heads, problem.keyDimension)
    return sequence.tokens.flatMap { token in
      let start =
        ((sequence.row * problem.length + token) * h + call.queryHead(of: head)) * k
      return array[start..<start + k]
    }
  }

  /// The state of a recurrence from [n, hv, k, v].
  func state(_ index: Int, of array: [Double]) -> [Double] {
    let size = problem.keyDimension * problem.valueDimension
    return Array(array[index * size..<(index + 1) * size])
  }

  /// [b, t, hv, width] from the rows of each recurrence.
  func tokens(_ results: [[Double]], _ width: Int) throws -> Tensor {
    let shape = Shape([problem.batch, problem.length, problem.valueHeads, width])
    var all = [Double](repeating: 0, count: shape.elementCount)
    for (index, rows) in results.enumerated() {
      let (sequence, head) = place(index)
      for (t, token) in sequence.tokens.enumerated() {
        let start = ((sequence.row * problem.length + token) * problem.valueHeads + head) * width
        for i in 0..<width { all[start + i] = rows[t * width + i] }
      }
    }
    return try Tensor(all, shape)
  }

  /// [n, hv, k, v] from the state of each recurrence.
  func states(_ results: [[Double]]) throws -> Tensor {
    try Tensor(results.flatMap { $0 }, call.stateShape)
  }

  /// Rows of k: x / √(Σ x² + ε).
  private func normalized(_ rows: [Double]) -> [Double] {
    eachRow(rows, rows) { x, _ in
      let r = inverseNorm(x)
      return x.map { $0 * r }
    }
  }

  /// The gradient g of normalised rows as that of the rows x: r·g − x·r³·Σ g x.
  func throughNormalization(_ gradient: [Double], _ rows: [Double]) -> [Double] {
    eachRow(rows, gradient) { x, g in
      let r = inverseNorm(x)
      let along = zip(x, g).reduce(0) { $0 + $1.0 * $1.1 }
      return zip(x, g).map { r * $1 - $0 * r * r * r * along }
    }
  }

  private func inverseNorm(_ x: ArraySlice<Double>) -> Double {
    1 / (x.reduce(0) { $0 + $1 * $1 } + LinearCall.normalizationEpsilon).squareRoot()
  }

  private func eachRow(
    _ a: [Double], _ b: [Double], _ body: (ArraySlice<Double>, ArraySlice<Double>) -> [Double]
  ) -> [Double] {
    let k = problem.keyDimension
    return stride(from: 0, to: a.count, by: k).flatMap { body(a[$0..<$0 + k], b[$0..<$0 + k]) }
  }
}
