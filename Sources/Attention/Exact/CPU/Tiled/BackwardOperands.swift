import AttentionCPUKernels
import AttentionTensors

/// The five products of a backward tile and the operands they read, in one arithmetic: float32
/// (``FloatGradients``) or dot products of bfloat16 pairs (``BFloat16Gradients``).
///
/// Tiles are transposed, a row a key and a column a query: weights and their gradient are then left
/// operands of dV = Pᵀ dO and dK = dSᵀ Q as they lie.
protocol BackwardOperands: Sendable {
  /// - Parameter outputGradient: dO [b,t,h,v] in the inputs' dtype.
  init(_ inputs: ExactArguments, outputGradient: Tensor, tile: TileShape, _ kernels: cpu_kernels)
    throws

  /// Floats of memory for the operands of a block of queries, and for those of a block of keys with
  /// what a tile needs in passing.
  var queryFloats: Int { get }
  var keyFloats: Int { get }

  /// Reads and packs a block of queries and its share of dO.
  func readQueries(_ block: BackwardBlock) throws

  /// Reads and packs a block of keys and values.
  func readKeys(_ keys: BackwardKeys) throws

  /// Sᵀ = K Qᵀ. Returns the number that makes base-2 logits of it; with `isFinal` false that is
  /// log2(e): terms are added before the softmax.
  func similarity(_ block: BackwardBlock, _ keys: BackwardKeys, isFinal: Bool) -> Float

  /// dPᵀ = V dOᵀ, then the weights and dS.
  func weights(_ block: BackwardBlock, _ keys: BackwardKeys, factor: Float)

  /// dV += Pᵀ dO, dK += dSᵀ Q, dQ += dS K. `queryGradient` is the block's sum, laid out as
  /// ``rows(_:count:into:)`` reads it; the scale is left out of it.
  func accumulate(
    _ block: BackwardBlock, _ keys: BackwardKeys, queryGradient: UnsafeMutablePointer<Float>)

  /// Leaves the weights of a tile in ``BackwardKeys/scores`` as float32.
  func widenWeights(_ block: BackwardBlock, _ keys: BackwardKeys)

  /// Turns a sum of ``accumulate(_:_:queryGradient:)`` into rows [count, k].
  func rows(
    _ sum: UnsafePointer<Float>, count: Int, into rows: UnsafeMutablePointer<Float>)

  /// The other way round: adds rows [count, k] to a sum.
  func add(_ rows: UnsafePointer<Float>, count: Int, to sum: UnsafeMutablePointer<Float>)
}

/// One block of queries of one head of one sequence.
struct BackwardBlock {
  let index: Int
  let segment: Int
  let head: Int
  /// Counted in the sequence.
  let rows: Range<Int>
  /// What ``BackwardOperands/queryFloats`` asked for.
  let memory: UnsafeMutablePointer<Float>
  /// In base 2; +∞ where nothing was seen, so that every weight becomes zero.
  let logSumExp: UnsafeMutablePointer<Float>
  let delta: UnsafeMutablePointer<Float>
  /// What is added to a row's scores first: zero, but minus their maximum in a row whose log-sum-exp is
  /// large; ``logSumExp`` is then that of what is left. NaN until ``LargeSums`` finds it.
  let offset: UnsafeMutablePointer<Float>
  /// The share that the sink has in a row's sum, where there is one.
  let shareOfSink: UnsafeMutablePointer<Float>
  /// Whether any row has an offset.
  let hasOffsets: Bool
  /// Whether something of the queries is NaN or infinite.
  let isUnfit: Bool

  /// Numbers for each query that lie behind the operands, in the order above.
  static let numbers = 4

  /// Up to here a rounded log-sum-exp, and its rounded product with log2(e), change a weight by at most
  /// 2⁻¹⁴ of itself.
  private static let largestSum: Float = 512

  /// Whether a log-sum-exp is finite and large.
  static func isLarge(_ logSumExp: Float) -> Bool {
    abs(logSumExp) > largestSum && logSumExp.isFinite
  }
}

/// One block of keys and values of one head of one sequence, the tile that is worked on, and the
/// sums that belong to the keys.
struct BackwardKeys {
  let segment: Int
  let head: Int
  /// Counted in the sequence.
  let columns: Range<Int>
  /// What ``BackwardOperands/keyFloats`` asked for.
  let memory: UnsafeMutablePointer<Float>
  /// Tiles [keys, queries]: scores then weights, their gradient, the capped scores.
  let scores: UnsafeMutablePointer<Float>
  let gradient: UnsafeMutablePointer<Float>
  let capped: UnsafeMutablePointer<Float>
  /// Whether some of the keys or values are NaN or infinite.
  let isUnfit: Bool
  /// Sums [keys, k] and [keys, v].
  let dk: UnsafeMutablePointer<Float>
  let dv: UnsafeMutablePointer<Float>
}

/// A piece of memory in parts of given sizes.
struct MemoryParts {
  private(set) var count = 0

  /// The place of the next part, of `floats` numbers.
  mutating func next(_ floats: Int) -> Int {
    defer { count += floats }
    return count
  }
}
