import AttentionCLibrary

/// The definition of the recurrence of one sequence and head, token by token in float64.
///
/// Matrices are row-major arrays; row t belongs to token t.
struct LinearRecurrence {
  /// How a token changes the state.
  enum Update {
    case additive
    /// u [k]
    case additiveBefore([Double])
    /// β [t]
    case delta([Double])
    /// y [t, k]
    case generalizedDelta([Double])
    /// [t, k] each
    case lowRank(a: [Double], b: [Double])
  }

  let length: Int
  let keyDimension: Int
  let valueDimension: Int
  let scale: Double
  /// [t, k]
  var queries: [Double]
  /// [t, k]
  var keys: [Double]
  /// [t, v]
  var values: [Double]
  /// [t, k]: the logarithm of the decay, repeated if channels share it.
  var decay: [Double]
  var update: Update
  /// [k, v]
  var initialState: [Double]

  struct Result: Sendable {
    var output: [Double]
    var finalState: [Double]
  }

  /// A token's rows of the inputs.
  struct Token {
    /// Multiplied by the scale.
    let query: [Double]
    let key: [Double]
    var value: [Double]
    /// e^g
    let keep: [Double]
  }

  func token(_ t: Int) -> Token {
    let (keyRow, valueRow) = (
      t * keyDimension..<(t + 1) * keyDimension, t * valueDimension..<(t + 1) * valueDimension
    )
    return Token(
      query: queries[keyRow].map { scale * $0 }, key: Array(keys[keyRow]),
      value: Array(values[valueRow]), keep: decay[keyRow].map { exp($0) })
  }

  /// Row t of an array with k numbers per token.
  func row(_ array: [Double], _ t: Int) -> [Double] {
    Array(array[t * keyDimension..<(t + 1) * keyDimension])
  }

  /// The state after token t.
  func next(_ state: StateMatrix, _ t: Int) -> StateMatrix {
    let token = token(t)
    var next = state
    next.scaleRows(token.keep)
    switch update {
    case .additive, .additiveBefore: next.add(token.key, token.value)
    case .delta(let beta):
      let held = next.read(token.key)
      next.add(token.key, zip(token.value, held).map { beta[t] * ($0 - $1) })
    case .generalizedDelta(let readKeys):
      let held = next.read(row(readKeys, t))
      next.add(token.key, zip(token.value, held).map { $0 - $1 })
    case .lowRank(let a, let b):
      next.add(row(b, t), state.read(row(a, t)))
      next.add(token.key, token.value)
    }
    return next
  }

  /// The output of token t, given the states before and after it.
  private func output(_ before: StateMatrix, _ after: StateMatrix, _ t: Int) -> [Double] {
    let token = token(t)
    guard case .additiveBefore(let bonus) = update else { return after.read(token.query) }
    let own = (0..<keyDimension).reduce(0) { $0 + token.query[$1] * bonus[$1] * token.key[$1] }
    return zip(before.read(token.query), token.value).map { $0 + own * $1 }
  }

  func forward() -> Result {
    var state = StateMatrix(initialState, columns: valueDimension)
    var output: [Double] = []
    output.reserveCapacity(length * valueDimension)
    for t in 0..<length {
      let after = next(state, t)
      output += self.output(state, after, t)
      state = after
    }
    return Result(output: output, finalState: state.elements)
  }
}

/// A state S [k, v] in float64, row-major.
struct StateMatrix {
  private(set) var elements: [Double]
  let columns: Int

  init(_ elements: [Double], columns: Int) {
    self.elements = elements
    self.columns = columns
  }

  var rows: Int { elements.count / columns }

  /// Sᵀ x, [v]
  func read(_ x: [Double]) -> [Double] {
    var result = [Double](repeating: 0, count: columns)
    for i in 0..<rows {
      for j in 0..<columns { result[j] += x[i] * elements[i * columns + j] }
    }
    return result
  }

  /// S x, [k]
  func times(_ x: [Double]) -> [Double] {
    var result = [Double](repeating: 0, count: rows)
    for i in 0..<rows {
      var sum = 0.0
      for j in 0..<columns { sum += elements[i * columns + j] * x[j] }
      result[i] = sum
    }
    return result
  }

  /// S += x yᵀ
  mutating func add(_ x: [Double], _ y: [Double]) {
    for i in 0..<rows {
      for j in 0..<columns { elements[i * columns + j] += x[i] * y[j] }
    }
  }

  mutating func add(_ other: StateMatrix) {
    for i in elements.indices { elements[i] += other.elements[i] }
  }

  /// Multiplies row i by x_i.
  mutating func scaleRows(_ x: [Double]) {
    for i in 0..<rows {
      for j in 0..<columns { elements[i * columns + j] *= x[i] }
    }
  }

  /// Σ over columns of S ⊙ T, [k]
  func rowDots(_ other: StateMatrix) -> [Double] {
    (0..<rows).map { i in
      var sum = 0.0
      for place in i * columns..<(i + 1) * columns {
        sum += elements[place] * other.elements[place]
      }
      return sum
    }
  }
}
