import AttentionTensors

/// The validated arguments of one call of linear attention, as kernels read them.
public struct LinearCall: CheckedCall {
  public internal(set) var problem: LinearProblem
  /// [b, t, h, k], detached; the last axis lies dense in memory.
  public let queries: Tensor
  /// [b, t, h, k], as the queries.
  public let keys: Tensor
  /// [b, t, hv, v], as the queries.
  public let values: Tensor
  /// The logarithm of the decay [b, t, hv, 1] or [b, t, hv, k], broadcast from what was given.
  public let decay: Tensor?
  /// How a token changes the state: detached tensors, β as [b, t, hv, 1].
  public let update: LinearUpdate
  /// [n, hv, k, v] in row-major order; float32, or float64 with float64 queries.
  public let initialState: Tensor?
  public let scale: Double
  /// The sequences, one a state.
  public let sequences: TokenSequences
  /// Memory of the caller that results are wanted in.
  package var places = LinearPlaces()
  /// Whether a gradient of the decay is wanted, where there is a decay and gradients are.
  package var wantsDecayGradient = true

  /// The factor that turns a key into a unit vector is 1/√(Σ x² + ε), with this ε.
  public static let normalizationEpsilon = 1e-6

  /// Where the tensors are.
  var device: Device { problem.device }

  var hasTokens: Bool { problem.batch > 0 && problem.length > 0 }

  /// Elements of a state.
  var stateSize: Int { problem.keyDimension * problem.valueDimension }

  /// The query and key head that value head `head` reads.
  func queryHead(of head: Int) -> Int { head / (problem.valueHeads / problem.heads) }
}

/// Memory of the caller that results of linear attention are wanted in; nil for fresh memory. Kernels may
/// disregard it.
package struct LinearPlaces: Sendable {
  package var output: Tensor?
  package var finalState: Tensor?
  /// [b, t, h, k]
  package var queriesGradient: Tensor?
  /// [b, t, h, k]
  package var keysGradient: Tensor?
  /// [b, t, hv, v]
  package var valuesGradient: Tensor?

  package init(
    output: Tensor? = nil, finalState: Tensor? = nil, queriesGradient: Tensor? = nil,
    keysGradient: Tensor? = nil, valuesGradient: Tensor? = nil
  ) {
    self.output = output
    self.finalState = finalState
    self.queriesGradient = queriesGradient
    self.keysGradient = keysGradient
    self.valuesGradient = valuesGradient
  }
}

extension LinearCall {
  /// Checks the arguments of `linearAttention`.
  ///
  /// - Throws: ``AttentionError/invalidArgument(_:was:mustBe:)``
  package init(
    queries: Tensor, keys: Tensor, values: Tensor, decay: Tensor?, update: LinearUpdate,
    scale: Double?, normalizesQueriesAndKeys: Bool, initialState: Tensor?,
    cumulativeLengths: Tensor?, needsGradient: Bool
  ) throws {
    try Self.check(queries, "queries", "[batch, length, heads, key dimension]") {
      $0.rank == 4 && $0.shape[2] > 0 && $0.shape[3] > 0
    }
    let (batch, length, heads, dimension) = (
      queries.shape[0], queries.shape[1], queries.shape[2], queries.shape[3]
    )
    try Self.check(keys, "keys", "\(queries.shape) as the queries are") {
      $0.shape == queries.shape
    }
    try Self.check(
      values, "values",
      "[\(batch), \(length), a multiple of \(heads) heads, value dimension]"
    ) {
      $0.rank == 4 && $0.shape[0] == batch && $0.shape[1] == length && $0.shape[2] > 0
        && $0.shape[2] % heads == 0 && $0.shape[3] > 0
    }
    try Self.check(dtypeOf: queries, "queries", "a floating-point dtype", \.isFloatingPoint)
    for (tensor, name) in [(keys, "keys"), (values, "values")] {
      try Self.check(dtypeOf: tensor, name, "\(queries.dtype.rawValue) as the queries are") {
        $0 == queries.dtype
      }
    }
    let others: [(tensor: Tensor?, name: String)] =
      [(keys, "keys"), (values, "values"), (decay, "decay"), (initialState, "initialState")]
      + zip(update.tensors, update.names).map { ($0, $1) }
    let device = try Self.device(of: queries, "queries", with: others)
    let valueHeads = values.shape[2]
    let kind = try Self.kind(of: decay, [batch, length, valueHeads, dimension])
    let sequences = try Self.sequences(
      cumulativeLengths, of: "queries", batch: batch, length: length)
    try ProblemSize.check(heads: valueHeads, "values")
    try ProblemSize.check(row: dimension, "keys")
    try ProblemSize.check(row: values.shape[3], "values")
    try ProblemSize.check(
      queries, "queries", [batch, length, valueHeads, dimension, values.shape[3]],
      "batch, length, value heads, key and value dimension")
    try ProblemSize.check(
      values, "values", [sequences.count, valueHeads, dimension, values.shape[3]],
      "sequences, value heads, key and value dimension")
    let problem = LinearProblem(
      batch: batch, length: length, sequences: sequences.count,
      isPacked: cumulativeLengths != nil, heads: heads, valueHeads: valueHeads,
      keyDimension: dimension, valueDimension: values.shape[3], dtype: queries.dtype, decay: kind,
      update: update.kind, normalizesQueriesAndKeys: normalizesQueriesAndKeys,
      hasInitialState: initialState != nil, needsGradient: needsGradient, device: device)

    if let initialState {
      let shape = Shape([sequences.count, valueHeads, dimension, values.shape[3]])
      try Self.check(initialState, "initialState", "\(shape)") { $0.shape == shape }
      try Self.check(
        dtypeOf: initialState, "initialState", "a floating-point dtype", \.isFloatingPoint)
    }
    if let scale, !scale.isFinite {
      throw AttentionError.invalidArgument("scale", was: "\(scale)", mustBe: "a finite number")
    }

    let isDouble = queries.dtype == .float64
    self.problem = problem
    self.queries = try queries.detached().withDenseRows()
    self.keys = try keys.detached().withDenseRows()
    self.values = try values.detached().withDenseRows()
    self.decay = try decay.map {
      let readable = $0.dtype == .float64 && !isDouble ? try $0.cast(to: .float32) : $0
      let wide = kind == .perChannel ? readable : try readable.detached().unsqueezed(-1)
      return try wide.detached().expanded(
        to: [batch, length, valueHeads, kind == .perChannel ? dimension : 1]
      ).withDenseRows()
    }
    self.update = try update.readable(for: problem)
    self.initialState = try initialState.map {
      try $0.detached().cast(to: isDouble ? .float64 : .float32).contiguous()
    }
    self.scale = scale ?? 1 / Double(dimension).squareRoot()
    self.sequences = sequences
  }

  /// Which decay `decay` is by its shape; `full` is [b, t, hv, k].
  private static func kind(of decay: Tensor?, _ full: [Int]) throws -> LinearProblem.Decay {
    guard let decay else { return .none }
    try check(dtypeOf: decay, "decay", "a floating-point dtype", \.isFloatingPoint)
    switch decay.shape.dimensions {
    case [full[2]]: return .perHead
    case Array(full[..<3]): return .perToken
    case full: return .perChannel
    default:
      throw AttentionError.invalidArgument(
        "decay", was: "\(decay.shape)",
        mustBe: "\(Shape([full[2]])), \(Shape(Array(full[..<3]))) or \(Shape(full))")
    }
  }
}

extension LinearCall {
  /// The tokens of recurrence `index` (sequence `index` ÷ hv, head `index` mod hv) in pieces of at
  /// most `length`.
  ///
  /// - Parameter readsAhead: whether a piece reads the states behind its tokens though the update
  ///   reads before it writes, so by the queries of the tokens after them.
  func pieces(
    ofRecurrence index: Int, length: Int, readsAhead: Bool = false
  ) -> [RecurrenceReader.Piece] {
    let sequence = sequences[index / problem.valueHeads]
    let head = index % problem.valueHeads
    let (first, end) = (sequence.tokens.lowerBound, sequence.tokens.upperBound)
    let shift = readsAhead && problem.update == .additiveBefore ? 1 : 0
    return stride(from: first, to: end, by: length).map {
      let last = min($0 + length, end)
      return RecurrenceReader.Piece(
        row: sequence.row, head: head, queryHead: queryHead(of: head), tokens: $0..<last,
        reading: $0 + shift..<min(last + shift, end))
    }
  }

  /// Calls `body` with the initial state [k, v] of recurrence `index`, nil if none was given.
  func withInitialState<R>(
    _ index: Int, _ body: (UnsafePointer<Float>?) throws -> R
  ) throws -> R {
    guard let initialState else { return try body(nil) }
    return try initialState.withUnsafePointer(to: Float.self) {
      try body($0 + index * problem.keyDimension * problem.valueDimension)
    }
  }

  /// Writes the initial state [k, v] of recurrence `index`, zero if none was given.
  func copyInitialState(_ index: Int, to target: UnsafeMutablePointer<Float>) throws {
    let size = problem.keyDimension * problem.valueDimension
    try withInitialState(index) {
      if let initial = $0 {
        target.update(from: initial, count: size)
      } else {
        target.update(repeating: 0, count: size)
      }
    }
  }

  /// The bonus [hᵥ, k] in float32, nil for updates without one.
  func bonusElements() throws -> HostElements? {
    guard case .additiveBefore(let bonus) = update else { return nil }
    return try bonus.hostElements()
  }
}
