import Synchronization
import AttentionTensors

/// The tensors of a call as float64 arrays, with access to the rows of each recurrence.
struct CallArrays: Sendable {
  let call: LinearArguments
  let queries: [Double]
  let keys: [Double]
  let values: [Double]
  let decay: [Double]?
  let initialState: [Double]?
  /// The update's tensors.
  let update: [[Double]]

  init(_ call: LinearArguments) throws {
    self.call = call
    queries = try call.queries.elements(as: Double.self)
    keys = try call.keys.elements(as: Double.self)
    values = try call.values.elements(as: Double.self)
    decay = try call.decay?.elements(as: Double.self)
    initialState = try call.initialState?.elements(as: Double.self)
    update = try call.update.tensors.map { try $0.elements(as: Double.self) }
  }

  private var problem: LinearProblem { call.problem }

  /// Recurrence `index` is sequence `index` ÷ hv and head `index` mod hv.
  private func place(_ index: Int) -> (sequence: TokenSequence, head: Int) {
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

  func recurrence(_ index: Int) -> LinearRecurrence {
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
    return LinearRecurrence(
      length: length, keyDimension: k, valueDimension: v, scale: call.scale, queries: queries,
      keys: keys, values: rows(index, of: values, v), decay: decayRows, update: update(of: index),
      initialState: initialState.map { state(index, of: $0) }
        ?? [Double](repeating: 0, count: k * v))
  }

  private func update(of index: Int) -> LinearRecurrence.Update {
    let k = problem.keyDimension
    switch problem.update {
    case .additive: return .additive
    case .additiveBefore:
      let head = place(index).head
      return .additiveBefore(Array(update[0][head * k..<(head + 1) * k]))
    case .delta: return .delta(rows(index, of: update[0], 1))
    case .generalizedDelta: return .generalizedDelta(rows(index, of: update[0], k))
    case .lowRank:
      return .lowRank(a: rows(index, of: update[0], k), b: rows(index, of: update[1], k))
    }
  }

  /// The gradients of the update's tensors from those of each recurrence.
  func update(_ results: [[[Double]]]) throws -> [Tensor] {
    let k = problem.keyDimension
    guard problem.update != .additiveBefore else {
      // Sequences share the bonus of a head.
      var all = [Double](repeating: 0, count: problem.valueHeads * k)
      for (index, result) in results.enumerated() {
        for i in 0..<k { all[place(index).head * k + i] += result[0][i] }
      }
      return [try Tensor(all, [problem.valueHeads, k])]
    }
    return try update.indices.map { tensor in
      try tokens(results.map { $0[tensor] }, problem.update == .delta ? 1 : k)
    }
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

  /// The gradient of the rows x from that of the normalised rows, g: r·g − x·r³·Σ g x.
  func throughNormalization(_ gradient: [Double], _ rows: [Double]) -> [Double] {
    eachRow(rows, gradient) { x, g in
      let r = inverseNorm(x)
      let along = zip(x, g).reduce(0) { $0 + $1.0 * $1.1 }
      return zip(x, g).map { r * $1 - $0 * r * r * r * along }
    }
  }

  private func inverseNorm(_ x: ArraySlice<Double>) -> Double {
    1 / (x.reduce(0) { $0 + $1 * $1 } + LinearArguments.normalizationEpsilon).squareRoot()
  }

  private func eachRow(
    _ a: [Double], _ b: [Double], _ body: (ArraySlice<Double>, ArraySlice<Double>) -> [Double]
  ) -> [Double] {
    let k = problem.keyDimension
    return stride(from: 0, to: a.count, by: k).flatMap { body(a[$0..<$0 + k], b[$0..<$0 + k]) }
  }
}
