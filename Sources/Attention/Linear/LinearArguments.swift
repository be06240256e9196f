import AttentionTensors

/// The arguments of one call of linear attention, as kernels read them: without history.
public struct LinearArguments: OperatorArguments {
  public typealias Op = LinearAttention

  public let problem: LinearProblem
  /// [b, t, h, k], detached; the last axis is contiguous.
  public let queries: Tensor
  /// [b, t, h, k], likewise.
  public let keys: Tensor
  /// [b, t, hv, v], likewise.
  public let values: Tensor
  /// The logarithm of the decay, broadcast to [b, t, hv, 1] or [b, t, hv, k].
  public let decay: Tensor?
  /// How a token changes the state: detached tensors, β as [b, t, hv, 1].
  public let update: LinearUpdate
  /// [n, hv, k, v], contiguous; float32, or float64 with float64 queries.
  public let initialState: Tensor?
  public let scale: Double
  /// The sequences, one per state.
  public let sequences: TokenSequences
  /// Memory of the caller that results are wanted in.
  public var destinations = OperatorDestinations<LinearAttention>()
  /// Whether a gradient of the decay is wanted, where there is a decay and gradients are.
  public let wantsDecayGradient: Bool

  /// ε in the factor 1/√(Σ x² + ε) that normalises queries and keys.
  public static let normalizationEpsilon = 1e-6

  public var carried: CarriedState<LinearAttention>? {
    CarriedState(from: .initialState, to: .finalState, initialState)
  }

  var outputShape: Shape { LinearAttention.shape(of: .output, in: problem) }

  /// Elements of a state.
  var stateSize: Int { problem.keyDimension * problem.valueDimension }

  /// The query and key head that value head `head` reads.
  func queryHead(of head: Int) -> Int { head / (problem.valueHeads / problem.heads) }
}

extension LinearArguments {
  public init(
    _ call: OperatorCall<LinearAttention>, destinations: OperatorDestinations<LinearAttention>
  )
    throws
  {
    let inputs = call.inputs.detached()
    let problem = call.problem
    let isDouble = problem.dtype == .float64
    self.problem = problem
    self.destinations = destinations
    queries = try inputs.required(.queries).withDenseRows()
    keys = try inputs.required(.keys).withDenseRows()
    values = try inputs.required(.values).withDenseRows()
    decay = try inputs[.decay].map {
      let readable = $0.dtype == .float64 && !isDouble ? try $0.cast(to: .float32) : $0
      let isByChannel = problem.decay == .perChannel
      return try (isByChannel ? readable : readable.unsqueezed(-1)).expanded(
        to: [
          problem.batch, problem.length, problem.valueHeads,
          isByChannel ? problem.keyDimension : 1,
        ]
      ).withDenseRows()
    }
    update = try LinearUpdate(inputs).readable(for: problem)
    initialState = try inputs[.initialState]?.cast(to: isDouble ? .float64 : .float32).contiguous()
    scale = call.options.scale ?? 1 / Double(problem.keyDimension).squareRoot()
    sequences = call.sequences
    wantsDecayGradient = call.gradients.inputs.contains(.decay)
  }
}

extension LinearArguments {
  /// The tokens of recurrence `index` (sequence `index` ÷ hv, head `index` mod hv) in pieces of at
  /// most `length`.
  ///
  /// - Parameter readsAhead: whether a piece reads the states after its tokens even if the update
  ///   reads before it writes, which is done by the queries of the next tokens.
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

  /// Copies the initial state [k, v] of recurrence `index`, zero if none was given, to `target`.
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
