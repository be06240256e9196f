import AttentionCPUKernels
import AttentionTensors

/// The five products of a backward tile and their operands, in one arithmetic: float32
/// (``FloatGradients``) or dot products of bfloat16 pairs (``BFloat16Gradients``).
///
/// Tiles are transposed, with one row per key and one column per query, so that weights and their gradient
/// are left operands of dV = Pᵀ dO and dK = dSᵀ Q without being moved.
protocol BackwardOperands: Sendable {
  /// - Parameter outputGradient: dO [b,t,h,v] in the inputs' dtype.
  init(_ inputs: ExactArguments, outputGradient: Tensor, tile: TileShape, _ kernels: cpu_kernels)
    throws

  /// Floats of memory for the operands of a block of queries, and for those of a block of keys including
  /// scratch for a tile.
  var queryFloats: Int { get }
  var keyFloats: Int { get }

  /// Reads and packs a block of queries and its share of dO.
  func readQueries(_ block: BackwardBlock) throws

  /// Reads and packs a block of keys and values.
  func readKeys(_ keys: BackwardKeys) throws

  /// Sᵀ = K Qᵀ. Returns the factor that converts it to base-2 logits: log2(e) if `isFinal` is false, because
  /// then terms are added before the softmax.
  func similarity(_ block: BackwardBlock, _ keys: BackwardKeys, isFinal: Bool) -> Float

  /// dPᵀ = V dOᵀ, then the weights and dS.
  func weights(_ block: BackwardBlock, _ keys: BackwardKeys, factor: Float)

  /// dV += Pᵀ dO, dK += dSᵀ Q, dQ += dS K. `queryGradient` is the block's sum without the scale, in the
  /// layout that ``rows(_:count:into:)`` reads.
  func accumulate(
    _ block: BackwardBlock, _ keys: BackwardKeys, queryGradient: UnsafeMutablePointer<Float>)

  /// Stores the weights of a tile in ``BackwardKeys/scores`` as float32.
  func widenWeights(_ block: BackwardBlock, _ keys: BackwardKeys)

  /// Converts a sum of ``accumulate(_:_:queryGradient:)`` to rows [count, k].
  func rows(
    _ sum: UnsafePointer<Float>, count: Int, into rows: UnsafeMutablePointer<Float>)

  /// The inverse: adds rows [count, k] to a sum.
  func add(_ rows: UnsafePointer<Float>, count: Int, to sum: UnsafeMutablePointer<Float>)
}

/// One block of queries of one head of one sequence.
struct BackwardBlock {
  let index: Int
  let segment: Int
  let head: Int
  /// Indices in the sequence.
  let rows: Range<Int>
  /// ``BackwardOperands/queryFloats`` of memory.
  let memory: UnsafeMutablePointer<Float>
  /// In base 2; +∞ if the sum is empty, so that every weight becomes zero.
  let logSumExp: UnsafeMutablePointer<Float>
  let delta: UnsafeMutablePointer<Float>
  /// Added to a row's scores first: zero, or minus their maximum in a row whose log-sum-exp is large, whose
  /// ``logSumExp`` is then that of the shifted scores. NaN until ``LargeSums`` resolves it.
  let offset: UnsafeMutablePointer<Float>
  /// The sink's share of a row's sum.
  let shareOfSink: UnsafeMutablePointer<Float>
  /// Whether any row has an offset.
  let hasOffsets: Bool
  /// Whether an operand of the queries has NaN or infinity.
  let isUnfit: Bool

  /// The numbers per query that follow the operands, in the order above.
  static let numbers = 4

  /// Below this limit the roundings of a log-sum-exp and of its base-2 value change a weight by at most 2⁻¹⁴
  /// of it.
  private static let largestSum: Float = 512

  /// Whether a log-sum-exp is finite and large.
  static func isLarge(_ logSumExp: Float) -> Bool {
    abs(logSumExp) > largestSum && logSumExp.isFinite
  }
}

/// One block of keys and values of one head of one sequence, the current tile, and the sums of the keys'
/// gradients.
struct BackwardKeys {
  let segment: Int
  let head: Int
  /// Indices in the sequence.
  let columns: Range<Int>
  /// ``BackwardOperands/keyFloats`` of memory.
  let memory: UnsafeMutablePointer<Float>
  /// Tiles [keys, queries]: the scores, then the weights; their gradient; the capped scores.
  let scores: UnsafeMutablePointer<Float>
  let gradient: UnsafeMutablePointer<Float>
  let capped: UnsafeMutablePointer<Float>
  /// Whether a key or value has NaN or infinity.
  let isUnfit: Bool
  /// Sums [keys, k] and [keys, v].
  let dk: UnsafeMutablePointer<Float>
  let dv: UnsafeMutablePointer<Float>
}

/// Offsets of consecutive parts of a block of memory.
struct MemoryParts {
  private(set) var count = 0

  /// The offset of the next part, of `floats` floats.
  mutating func next(_ floats: Int) -> Int {
    defer { count += floats }
    return count
  }
}
