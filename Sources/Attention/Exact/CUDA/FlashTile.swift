import CUDA
import Tensors

/// What the forward kernel is compiled for, beside its tile.
struct FlashFeatures: Hashable, Sendable {
  var hasKeyMask = false
  /// Scores are divided by the lengths of queries and keys.
  var dividesByLengths = false
  /// The scores' bound is known before.
  var hasConstantBound = false
  /// Something is done to scores before the mask.
  var hasTerms = false
}

/// The tile in which `attention/forward.cu` works, and how many blocks share a multiprocessor.
struct FlashTile: Hashable, Sendable {
  var queryRows: Int
  var keyRows: Int
  var warps: Int
  var blocks: Int
  /// Multiples of 16.
  var keyDimension: Int
  var valueDimension: Int
  var features: FlashFeatures

  static let largestDimension = 256
  /// Columns of one matrix instruction; dimensions are padded to it.
  private static let step = 16
  /// Elements of a row of shared memory are padded to whole turns around its banks.
  static let pitch = 64
  static let hopper = 90
  static let threadsPerWarp = 32

  static func padded(_ dimension: Int) -> Int { dimension.rounded(up: step) }

  /// The tile for a problem's dimensions on a device.
  ///
  /// Each warp owns two strips of 16 query rows where registers allow it, so that what it loads of the
  /// keys is used twice: with one strip, loading would take longer than multiplying. The strips'
  /// outputs and scores fill the 255 registers that a thread can have: at dimension 64 there is room
  /// for the scores of 96 keys, at 128 for those of 64; for fewer where masks, lengths or terms need
  /// registers too, and on devices other than Hopper, whose compilers need more for addresses. Above dimension 128 eight warps with one strip each share a block, for as many keys as
  /// shared memory holds twice.
  init(
    keyDimension: Int, valueDimension: Int, features: FlashFeatures, capability: Int,
    sharedBytes: Int
  ) {
    self.keyDimension = Self.padded(keyDimension)
    self.valueDimension = Self.padded(valueDimension)
    self.features = features
    (queryRows, warps, blocks) = (128, 4, 2)
    switch max(self.keyDimension, self.valueDimension) {
    case ...64:
      keyRows =
        features.hasTerms
        ? 32 : features.dividesByLengths ? 64 : capability > Self.hopper ? 80 : 96
    case ...128:
      let isPlain = !features.hasTerms && !features.dividesByLengths && !features.hasKeyMask
      keyRows = !isPlain ? 32 : capability < Self.hopper ? 48 : 64
    default:
      (keyRows, warps, blocks) = (64, 8, 1)
      if features.hasTerms || self.sharedBytes > sharedBytes { keyRows = 32 }
      if self.sharedBytes > sharedBytes { (queryRows, warps) = (64, 4) }
    }
  }

  /// Queries; keys and values twice, one tile being read while the next arrives; the keys' lengths.
  var sharedBytes: Int {
    let stages = 2
    let (key, value) = (
      keyDimension.rounded(up: Self.pitch), valueDimension.rounded(up: Self.pitch)
    )
    let lengths = features.dividesByLengths ? stages * keyRows * DType.float32.size : 0
    return DType.bfloat16.size * (queryRows * max(key, value) + stages * keyRows * (key + value))
      + lengths
  }

  var threads: Int { warps * Self.threadsPerWarp }

  func variant(_ dtype: DType) -> KernelVariant {
    func flag(_ name: String, _ isSet: Bool) -> String { "\(name)=\(isSet ? 1 : 0)" }
    return KernelVariant(
      source: "attention/forward.cu", function: "attention_forward",
      definitions: [
        Self.definition(of: dtype), "KEY_DIMENSION=\(keyDimension)",
        "VALUE_DIMENSION=\(valueDimension)", "QUERY_ROWS=\(queryRows)", "KEY_ROWS=\(keyRows)",
        "WARPS=\(warps)", "BLOCKS=\(blocks)", flag("KEY_MASK", features.hasKeyMask),
        flag("COSINE", features.dividesByLengths),
        flag("CONSTANT_BOUND", features.hasConstantBound), flag("TERMS", features.hasTerms),
      ],
      sharedBytes: sharedBytes)
  }

  static func definition(of dtype: DType) -> String {
    "ELEMENT=\(dtype == .bfloat16 ? "bf16" : "f16")"
  }
}

extension Int {
  func rounded(up step: Int) -> Int { (self + step - 1) / step * step }
}
