import AttentionTensors

/// What one piece of a sequence does to the state. Over a piece the state after is an affine map of
/// the state before, S' = M S + L, and the gradient runs back through its transpose,
/// dS = Mᵀ dS' + B; so pieces can be solved apart and put together afterwards.
protocol PieceSolver: Sendable {
  typealias Rows = UnsafeMutablePointer<Float>

  /// Floats of M as the solver writes it.
  var mapSize: Int { get }

  /// Writes M, and L [k, v] unless `end` is nil.
  func solve(_ chunks: [RecurrenceReader.Piece], map: Rows, end: Rows?) throws

  /// Writes B [k, v]: the gradient of the state before the piece that its own outputs give.
  func solveGradient(
    _ chunks: [RecurrenceReader.Piece], incoming: TokenRows, start: Rows) throws

  /// after += M before, [k, v] both.
  func carry(_ map: UnsafePointer<Float>, _ before: UnsafePointer<Float>, addingTo after: Rows)

  /// before += Mᵀ after.
  func carryBack(_ map: UnsafePointer<Float>, _ after: UnsafePointer<Float>, addingTo before: Rows)
}

/// The states between the pieces of sequences, each piece solved on a thread of its own.
///
/// Pieces and the order of sums depend on the problem only, so results do not depend on threads.
struct SplitStates<Solver: PieceSolver> {
  let call: LinearArguments
  let pieces: SequencePieces
  let solver: Solver
  /// [pieces, k, v]: the state before each piece.
  let before: Scratch
  private let maps: Scratch

  private var stateSize: Int { call.problem.keyDimension * call.problem.valueDimension }

  /// Solves the pieces and puts their states together.
  ///
  /// - Parameter needsAllMaps: whether the map of a sequence's last piece is asked for too, as the
  ///   gradient does.
  init(
    _ call: LinearArguments, _ pieces: SequencePieces, _ solver: Solver, needsAllMaps: Bool
  ) throws {
    self.call = call
    self.pieces = pieces
    self.solver = solver
    let size = call.problem.keyDimension * call.problem.valueDimension
    let before = try Scratch(floats: pieces.count * size)
    let maps = try Scratch(floats: pieces.count * solver.mapSize)
    try Threads.tryForEach(pieces.count) { index in
      let piece = pieces.all[index]
      if piece.isFirst {
        try call.copyInitialState(piece.recurrence, to: before.base + index * size)
      }
      guard !piece.isLast || needsAllMaps else { return }
      try solver.solve(
        piece.chunks, map: maps.base + index * solver.mapSize,
        end: piece.isLast ? nil : before.base + (index + 1) * size)
    }
    for (index, piece) in pieces.all.enumerated() where !piece.isLast {
      let state = before.base + index * size
      solver.carry(maps.base + index * solver.mapSize, state, addingTo: state + size)
    }
    self.before = before
    self.maps = maps
  }

  /// [pieces, k, v]: the gradient of the state after each piece, from that of the final states
  /// [n, hv, k, v].
  func gradientsAfter(_ finalGradient: Tensor, incoming: TokenRows) throws -> Scratch {
    let size = stateSize
    let after = try Scratch(floats: pieces.count * size)
    try Threads.tryForEach(pieces.count) { index in
      let piece = pieces.all[index]
      if piece.isLast {
        try finalGradient.withUnsafePointer(to: Float.self) {
          (after.base + index * size).update(from: $0 + piece.recurrence * size, count: size)
        }
      }
      guard !piece.isFirst else { return }
      try solver.solveGradient(
        piece.chunks, incoming: incoming, start: after.base + (index - 1) * size)
    }
    for (index, piece) in pieces.all.enumerated().reversed() where !piece.isFirst {
      let gradient = after.base + index * size
      solver.carryBack(
        maps.base + index * solver.mapSize, gradient, addingTo: gradient - size)
    }
    return after
  }
}
