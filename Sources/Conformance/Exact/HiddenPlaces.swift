import AttentionOperators
import AttentionTensors

/// The elements that a case's mask hides, from the definition pair by pair, and the garbage placed there.
///
/// Keys that no query attends to, queries that attend to nothing and biases of masked pairs hold NaN and infinity.
/// With an edge feature, one row of NaN is visible to some only: the key that the fewest queries attend to, or the
/// query that attends to the fewest keys. Everything that depends on it is NaN, and nothing else.
struct HiddenPlaces {
  private let settings: ExactCase
  /// [batch, queries, keys]: whether the mask allows a pair; below, whether the bias allows it too.
  private let leaves: [Bool]
  private let sees: [Bool]
  /// [batch, keys] and [batch, queries]: 0 for visible, 1 for garbage, 2 for NaN.
  private var keys: [UInt8]
  private var queries: [UInt8]

  private var b: Int { settings.batch }
  private var t: Int { settings.queryLength }
  private var s: Int { settings.keyLength }

  /// - Parameter bias: a bias whose −∞ masks the same keys for all queries and heads, or nil.
  init(
    _ settings: ExactCase, keyMask: Tensor?, _ cumulativeLengths: Tensor?, bias: Tensor?
  ) throws {
    self.settings = settings
    let (b, t, s) = (settings.batch, settings.queryLength, settings.keyLength)
    let keep = try keyMask?.elements(as: Bool.self)
    let bounds = try cumulativeLengths?.elements(as: Int32.self).map { Int($0) } ?? []
    let options = settings.options
    // The sequence of each token.
    let sequences = (0..<max(t, s)).map { token in bounds.dropFirst().prefix { $0 <= token }.count }
    let starts = bounds.isEmpty ? [0] : bounds
    func sees(_ batch: Int, _ i: Int, _ j: Int) -> Bool {
      if keep?[batch * s + j] == false || sequences[i] != sequences[j] { return false }
      // Packed sequences have as many queries as keys, so both alignments agree.
      let shift = options.alignment == .topLeft || !bounds.isEmpty ? 0 : s - t
      let distance = (j - starts[sequences[j]]) - (i - starts[sequences[i]]) - shift
      if options.isCausal, distance > 0 { return false }
      if let left = options.window?.left, distance < -left { return false }
      if let right = options.window?.right, distance > right { return false }
      return true
    }
    let pairs = (0..<b).flatMap { batch in
      (0..<t).flatMap { i in (0..<s).map { j in sees(batch, i, j) } }
    }
    leaves = pairs
    let hidden =
      try bias?.dtype == .bool
      ? bias?.elements(as: Bool.self).map { !$0 }
      : bias?.elements(as: Double.self).map { $0 == -.infinity }
    let seenPairs = pairs.indices.map {
      pairs[$0] && hidden?[$0 / (max(1, t) * max(1, s)) * s + $0 % s] != true
    }
    self.sees = seenPairs
    let seers = (0..<b * s).map { key in
      (0..<t).count { seenPairs[(key / max(1, s) * t + $0) * s + key % s] }
    }
    let seen = (0..<b * t).map { query in (0..<s).count { seenPairs[query * s + $0] } }
    keys = seers.map { $0 == 0 ? 1 : 0 }
    queries = seen.map { $0 == 0 ? 1 : 0 }
    func rarest(_ counts: [Int], of all: Int) -> Int? {
      counts.indices.filter { counts[$0] > 0 && counts[$0] < all }.min { counts[$0] < counts[$1] }
    }
    // The gradient of a decay is a difference of sums over all later tokens, so it is NaN if any of them is.
    guard !settings.has(.logitDecay), !settings.has(.logitDecayCut) else { return }
    if settings.has(.edgeKey), let key = rarest(seers, of: t) { keys[key] = 2 }
    if settings.has(.edgeQuery), let query = rarest(seen, of: s) { queries[query] = 2 }
  }

  func planted(in inputs: OperatorTensors<ExactInput>) throws -> OperatorTensors<ExactInput> {
    var inputs = inputs
    for input in [ExactInput.keys, .values] {
      inputs[input] = try plant(inputs[input]!, axis: 1, keys, length: s)
    }
    inputs[.queries] = try planted(inQueries: inputs[.queries]!, axis: 1)
    inputs[.bias] = try inputs[.bias].map(planted(inBias:))
    inputs[.logitDecay] = try inputs[.logitDecay].map {
      try plant($0, axis: 1, hiddenDecays(), length: t)
    }
    return inputs
  }

  /// Places garbage in a tensor [batch, …] whose axis `axis` is that of the queries.
  func planted(inQueries tensor: Tensor, axis: Int) throws -> Tensor {
    try plant(tensor, axis: axis, queries, length: t)
  }

  /// Alternating NaN and infinity in rows marked with 1, NaN in those marked with 2.
  private func plant(_ tensor: Tensor, axis: Int, _ marks: [UInt8], length: Int) throws -> Tensor {
    guard tensor.elementCount > 0 else { return tensor }
    let shape = Shape((0..<tensor.rank).map { $0 == 0 ? b : $0 == axis ? length : 1 })
    var planted = tensor
    for (mark, numbers) in [(UInt8(1), [Double.nan, .infinity, -.infinity]), (2, [.nan])] {
      let garbage = try Tensor((0..<tensor.elementCount).map { numbers[$0 % numbers.count] })
        .reshaped(tensor.shape).cast(to: tensor.dtype)
      planted = try .select(Tensor(marks.map { $0 == mark }, shape), garbage, planted)
    }
    // The strides are part of the case.
    return settings.has(.strided) && tensor.rank == 4 ? try planted.restrided(1, 2) : planted
  }

  /// Places garbage in elements of a bias that only masked pairs read.
  private func planted(inBias bias: Tensor) throws -> Tensor {
    let extents = [Int](repeating: 1, count: 4 - bias.rank) + bias.shape.dimensions
    var isRead = [Bool](repeating: false, count: bias.elementCount)
    for batch in 0..<b {
      for head in 0..<settings.heads {
        for i in 0..<t {
          for j in 0..<s where leaves[(batch * t + i) * s + j] {
            let place = zip([batch, head, i, j], extents).reduce(0) {
              $0 * $1.1 + ($1.1 == 1 ? 0 : $1.0)
            }
            isRead[place] = true
          }
        }
      }
    }
    let garbage = try Tensor([Double.nan], []).cast(to: bias.dtype)
    return try .select(Tensor(isRead, bias.shape), bias, garbage)
  }

  /// Tokens whose decay is not between any query and a key that it attends to: [batch, length].
  private func hiddenDecays() -> [UInt8] {
    var marks = [UInt8](repeating: 1, count: b * t)
    for batch in 0..<b {
      for i in 0..<t {
        for j in 0..<s where leaves[(batch * t + i) * s + j] {
          for token in min(i, j) + 1..<max(i, j) + 1 { marks[batch * t + token] = 0 }
        }
      }
    }
    return marks
  }
}
