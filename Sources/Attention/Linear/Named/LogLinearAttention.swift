import AttentionTensors

/// Log-linear attention: linear attention that keeps the past in buckets of 1, 1, 2, 4, 8, … tokens,
/// from the nearest to the farthest, and weighs each bucket anew for every token,
///
///     o_t = scale · Σ_ℓ λ_t^(ℓ) (S_t^(ℓ))ᵀ q_t ,
///     S_t^(ℓ) = Σ_(s in bucket ℓ of t) e^(g_(s+1) + … + g_t) k_s v_sᵀ
///
/// Bucket 0 is the token itself. Token s < t is in bucket ℓ ≥ 1 if bit ℓ − 1 is the highest in which t
/// and s, counted from 0, differ: these are the buckets of a Fenwick tree, one for each bit set in t. Time
/// grows as t·log t: buckets within a chunk of 64 tokens are weights of the chunk's scores; each level
/// above is linear attention over sequences of two buckets, the first of which is written and the second
/// reads.
///
/// Reference: Guo, Yang, Goel, Xing, Dao, Kim,
/// [*Log-linear attention*](https://arxiv.org/abs/2506.04761) (2025).
///
/// - Parameters:
///   - queries: `[b, t, h, k]`
///   - keys: `[b, t, h, k]`
///   - values: `[b, t, hv, v]`; h divides hv.
///   - decay: g [b, t, hv], a natural logarithm, at most 0; nil for none.
///   - levels: λ [b, t, hv, levels], in any floating-point dtype: at least
///   ``logLinearLevels(length:)`` of them.
///   - scale: the factor of the queries; nil is 1/√k.
///   - kernel: the name of the kernel that computes the levels above a chunk; nil for the one with the
///   lowest estimate.
/// - Returns: `[b, t, hv, v]` in the dtype of the queries.
/// - Throws: ``AttentionError`` naming the invalid argument.
public func logLinearAttention(
  queries: Tensor, keys: Tensor, values: Tensor, decay: Tensor? = nil, levels: Tensor,
  scale: Double? = nil, kernel: String? = nil
) throws -> Tensor {
  try LogLinearAttention(
    queries: queries, keys: keys, values: values, decay: decay, levels: levels, scale: scale,
    kernel: kernel
  ).run()
}

/// The number of levels of a sequence: one more than the number of bits of its last token's index.
public func logLinearLevels(length: Int) -> Int {
  length <= 1 ? 1 : 1 + Int.bitWidth - (length - 1).leadingZeroBitCount
}

/// A call of ``logLinearAttention(queries:keys:values:decay:levels:scale:kernel:)``; sums over levels are float32,
/// or float64 with float64 queries.
public struct LogLinearAttention: Sendable {
  private static let chunk = 64
  /// The levels within a chunk.
  private static let levelsOfChunk = logLinearLevels(length: chunk)
  /// The exponential of this is zero even in float64, like that of −∞.
  private static let leastDecay = -1e4

  private let queries, keys, values: Tensor
  private let decay: Tensor?
  /// [b, t, hv, levels]
  private let levels: Tensor
  /// Linear attention with a decay a token, whose shapes and dtypes these are.
  private let call: OperatorCall<LinearAttention>
  private let scale: Double
  private let sums: DType

  private var batch: Int { call.problem.batch }
  private var heads: Int { call.problem.heads }
  private var valueHeads: Int { call.problem.valueHeads }
  private var length: Int { call.problem.length }

  /// - Throws: ``AttentionError/invalidArgument(_:was:mustBe:)`` naming the invalid argument.
  public init(
    queries: Tensor, keys: Tensor, values: Tensor, decay: Tensor? = nil, levels: Tensor,
    scale: Double? = nil, kernel: String? = nil
  ) throws {
    call = try OperatorCall<LinearAttention>(
      queries: queries, keys: keys, values: values, decay: decay, scale: scale, kernel: kernel)
    let problem = call.problem
    let perToken = [problem.batch, problem.length, problem.valueHeads]
    guard problem.decay == .none || problem.decay == .perToken else {
      throw AttentionError.invalidArgument(
        "decay", was: "\(decay?.shape ?? [])", mustBe: "\(Shape(perToken))")
    }
    let least = logLinearLevels(length: problem.length)
    guard levels.rank == 4, Array(levels.shape.dimensions[..<3]) == perToken,
      levels.shape[3] >= least
    else {
      throw AttentionError.invalidArgument(
        "levels", was: "\(levels.shape)", mustBe: "\(perToken) and at least \(least) levels")
    }
    guard levels.dtype.isFloatingPoint else {
      throw AttentionError.invalidArgument(
        "dtype of levels", was: levels.dtype.rawValue, mustBe: "a floating-point dtype")
    }
    sums = problem.dtype == .float64 ? .float64 : .float32
    self.queries = queries
    self.keys = keys
    self.values = values
    self.decay = decay
    self.levels = levels
    self.scale = scale ?? 1 / Double(problem.keyDimension).squareRoot()
  }

  /// Computes the call and, where tensors are tracked, records it on the tape.
  public func run() throws -> Tensor {
    guard length > 0 else {
      return try .zeros(values.shape, dtype: queries.dtype, device: queries.device)
    }
    var output = try withinChunks()
    var level = Self.levelsOfChunk
    while level < logLinearLevels(length: length) {
      output = try output + reading(level)
      level += 1
    }
    return try output.cast(to: queries.dtype)
  }

  /// Which kernel runs the levels above a chunk, and why not the others; nothing is computed.
  ///
  /// - Parameters:
  ///   - device: the device to assume; nil for that of the tensors.
  ///   - needsGradient: whether to assume a backward pass.
  public func explanation(on device: Device? = nil, needsGradient: Bool) throws -> Explanation {
    try call.explanation(on: device, needsGradient: needsGradient)
  }

  /// The contribution of `level`, above the chunk: every second bucket is read by the tokens of the next.
  private func reading(_ level: Int) throws -> Tensor {
    let bucket = 1 << (level - 1)
    let isWritten = (0..<length).map { $0 / bucket % 2 == 0 ? 1.0 : 0 }
    func flags(_ flags: [Double], _ dtype: DType) throws -> Tensor {
      try Tensor(flags, [length, 1, 1]).cast(to: dtype).moved(to: queries.device)
    }
    // The rows of the batch, concatenated and split into pairs of buckets.
    let pairs = stride(from: 0, to: length, by: 2 * bucket)
    let ends = (0..<batch).flatMap { row in pairs.map { Int32(row * length + $0) } }
    func packed(_ tensor: Tensor) throws -> Tensor {
      try tensor.reshaped(Shape([1, batch * length] + tensor.shape.dimensions[2...]))
    }
    let result = try linearAttention(
      queries: packed(queries), keys: packed(keys * flags(isWritten, keys.dtype)),
      values: packed(values), decay: decay.map(packed), scale: scale,
      cumulativeLengths: Tensor(ends + [Int32(batch * length)]), kernel: call.kernel)
    let weights =
      try levels.sliced(3, level..<level + 1).cast(to: sums)
      * flags(isWritten.map { 1 - $0 }, sums)
    return try result.output.cast(to: sums).reshaped(values.shape) * weights
  }

  /// O = (Q Kᵀ ⊙ E ⊙ Λ) V in chunks, with E the decay between two tokens and Λ the weights of the
  /// levels.
  private func withinChunks() throws -> Tensor {
    let chunk = Self.chunk
    let group = valueHeads / heads
    let (q, k) = (try chunked(queries, group: group), try chunked(keys, group: group))
    var weights = try q.matmul(k.transposed()) * scale
    weights = try weights * buckets()
    if let decay {
      // The sum of the logarithms between each pair of tokens, by a product with zeros and ones, for which
      // they must be finite.
      let finite = try decay.cast(to: sums).maximum(.full([], Self.leastDecay, dtype: sums))
      let between = try chunked(finite.unsqueezed(-1), group: 1).squeezed(-1).unsqueezed(-2)
        .matmul(Self.tokensBetween(sums).moved(to: queries.device))
      weights =
        try weights
        * between.exponential().reshaped(Shape(Array(weights.shape.dimensions)))
    }
    let output = try weights.matmul(chunked(values, group: 1))
    let chunks = (length + chunk - 1) / chunk
    return try output.permuted([0, 2, 3, 1, 4]).reshaped([
      batch, chunks * chunk, valueHeads, values.shape[3],
    ]).sliced(1, 0..<length)
  }

  /// [b, hv, chunks, 64, width] in the dtype of the sums, heads repeated, padded with zeros.
  private func chunked(_ tensor: Tensor, group: Int) throws -> Tensor {
    let (chunk, count, width) = (Self.chunk, tensor.shape[2], tensor.shape[3])
    let chunks = (length + chunk - 1) / chunk
    let padding = try Tensor.zeros(
      [batch, chunks * chunk - length, count, width], dtype: sums, device: queries.device)
    let rows = try Tensor.concatenated([tensor.cast(to: sums), padding], 1)
      .reshaped([batch, chunks, chunk, count, 1, width])
      .expanded(to: [batch, chunks, chunk, count, group, width])
      .reshaped([batch, chunks, chunk, count * group, width])
    return try rows.permuted([0, 3, 1, 2, 4])
  }

  /// Λ [b, hv, chunks, 64, 64], zero above the diagonal.
  private func buckets() throws -> Tensor {
    let chunk = Self.chunk
    let levels = try chunked(levels, group: 1)
    let count = min(Self.levelsOfChunk, levels.shape[4])
    let places = (0..<chunk).flatMap { i in
      (0..<count).flatMap { level in
        (0..<chunk).map { j in j <= i && logLinearLevels(length: (i ^ j) + 1) - 1 == level ? 1.0 : 0
        }
      }
    }
    // For each row of a chunk, its weights times the membership of its buckets.
    let weights = try levels.sliced(4, 0..<count).unsqueezed(-2)
    let members = try Tensor(places, [chunk, count, chunk]).cast(to: sums)
      .moved(to: queries.device)
    return try weights.matmul(members).squeezed(-2)
  }

  /// [64, 64·64]: whether the decay of token s is between j and i, j < s ≤ i.
  private static func tokensBetween(_ dtype: DType) throws -> Tensor {
    let flags = (0..<chunk).flatMap { s in
      (0..<chunk).flatMap { i in (0..<chunk).map { j in j < s && s <= i ? 1.0 : 0 } }
    }
    return try Tensor(flags, [chunk, chunk * chunk]).cast(to: dtype)
  }
}
