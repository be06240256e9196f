import AttentionCUDA
import AttentionCUDAKernels
import AttentionTensors

/// The tile in which `attention/forward.cu` works, and into how many parts the keys are split.
struct FlashTile: Hashable, Sendable {
  let rows: TileRows
  let columns: TileColumns
  let features: FlashFeatures
  /// The scores' bound is known before.
  let hasConstantBound: Bool
  /// Blocks that share the keys of a row; nil where a block sees all of them, and its rows are those of
  /// one head.
  let splits: Int?
  /// Of a block, where Hopper's own instructions are used; one more copies.
  let warpgroups: Int?

  static let largestDimension = 256
  static let hopper = 90
  /// Columns of one matrix instruction; dimensions are padded to it.
  private static let step = 16

  static func padded(_ dimension: Int) -> Int { max(1, dimension).rounded(up: step) }

  /// The tile for a problem on a device.
  ///
  /// Each warp owns two strips of 16 query rows where registers allow it, so that what it loads of the
  /// keys is used twice: with one strip, loading would take longer than multiplying. The strips'
  /// outputs and scores fill the 255 registers that a thread can have: at dimension 64 there is room
  /// for the scores of 96 keys, at 128 for those of 64; for fewer where masks, lengths or terms need
  /// registers too, and on devices other than Hopper, whose compilers need more for addresses. Above
  /// dimension 128 eight warps with one strip each share a block, for as many keys as shared memory
  /// holds twice. float32 takes both operands apart, which fills registers sooner: one strip from
  /// dimension 128 on.
  ///
  /// `longest` is the longest sequence; nil for one of whole tiles.
  init(
    keyDimension: Int, valueDimension: Int, features: FlashFeatures, hasConstantBound: Bool = false,
    splits: Int? = nil, longest: ExactArguments.Segment? = nil, limits: TileLimits
  ) {
    let columns = TileColumns(
      keyDimension: keyDimension, valueDimension: valueDimension, features.element)
    warpgroups =
      splits == nil && features.usesWarpgroups(columns, limits)
      ? FlashWarpgroups.count(longest, widest: columns.widest, features) : nil
    let candidates =
      warpgroups.map { [Self.hopper($0, features, columns.widest)] }
      ?? (splits != nil
        ? Self.split(columns.widest, features.element)
        : features.element.isHalf
          ? Self.half(columns.widest, features, limits.capability)
          : Self.single(columns.widest, limits.capability))
    let usesWarpgroups = warpgroups != nil
    rows = limits.first(of: candidates) {
      Self.sharedBytes($0, columns, features, usesWarpgroups: usesWarpgroups)
    }
    self.columns = columns
    self.features = features
    self.hasConstantBound = hasConstantBound
    self.splits = splits
  }

  private static func half(_ widest: Int, _ features: FlashFeatures, _ capability: Int)
    -> [TileRows]
  {
    switch widest {
    case ...64:
      let keys =
        features.hasTerms
        ? 32
        : features.dividesByLengths || features.hasKeyMask && capability < hopper
          ? 64 : features.hasKeyMask || capability > hopper ? 80 : 96
      return [TileRows(128, keys)]
    case ...128:
      var plain = features
      plain.isPacked = false
      return [TileRows(128, !plain.isPlain ? 32 : capability < hopper ? 48 : 64)]
    default:
      let keys = features.hasTerms ? 32 : 64
      return [
        TileRows(128, keys, warps: 8, blocks: 1), TileRows(128, 32, warps: 8, blocks: 1),
        TileRows(64, 32, blocks: 1),
      ]
    }
  }

  /// Scores, weights and outputs of a warpgroup's rows fill its registers.
  private static func hopper(_ warpgroups: Int, _ features: FlashFeatures, _ widest: Int)
    -> TileRows
  {
    TileRows(
      warpgroups * group_rows, FlashWarpgroups.keys(features, widest: widest),
      warps: warpgroups * group_threads / warp_threads, blocks: 1)
  }

  private static func single(_ widest: Int, _ capability: Int) -> [TileRows] {
    switch widest {
    case ...64: [TileRows(capability > hopper ? 64 : 128, 32)]
    case ...128: [TileRows(64, 16)]
    default:
      [TileRows(64, 16, blocks: 1), TileRows(32, 16, warps: 2, blocks: 1)]
    }
  }

  /// One warp a block: what is read of the keys is multiplied by few rows, and many blocks read at the
  /// same time.
  private static func split(_ widest: Int, _ element: FlashElement) -> [TileRows] {
    let bytes = widest * element.size
    return [TileRows(16, bytes <= 128 ? 64 : bytes <= 256 ? 32 : 16, warps: 1, blocks: 4)]
  }

  private static func sharedBytes(
    _ rows: TileRows, _ columns: TileColumns, _ features: FlashFeatures, usesWarpgroups: Bool
  ) -> Int {
    columns.sharedBytes(
      owns_queries, owned: rows.queries, passing: rows.keys, stages: attention_stages, features,
      usesWarpgroups: usesWarpgroups)
  }

  var sharedBytes: Int {
    Self.sharedBytes(rows, columns, features, usesWarpgroups: warpgroups != nil)
  }

  /// Threads of a block.
  var threads: Int { rows.threads + (warpgroups == nil ? 0 : group_threads) }

  var kernel: String { "attention/\(warpgroups == nil ? "" : "hopper_")forward" }

  var definitions: [String] {
    let all =
      features.definitions + columns.definitions + ["CONSTANT_BOUND=\(hasConstantBound ? 1 : 0)"]
    if let warpgroups {
      return all + features.hopperDefinitions + [
        "KEY_ROWS=\(rows.keys)", "STAGES=\(attention_stages)", "WARPGROUPS=\(warpgroups)",
      ]
    }
    return all + rows.definitions + ["SPLIT=\(splits == nil ? 0 : 1)"]
  }
}

/// What of a device decides on tiles.
struct TileLimits: Hashable, Sendable {
  let capability: Int
  /// The most shared memory of a block.
  let sharedBytes: Int

  init(capability: Int, sharedBytes: Int) {
    self.capability = capability
    self.sharedBytes = sharedBytes
  }

  init(_ limits: DeviceLimits) {
    self.init(capability: limits.capability, sharedBytes: limits.sharedBytesPerBlock)
  }

  /// The first tile that fits; the last, if it does not, is refused when its kernel is loaded.
  func first<T>(of tiles: [T], bytes: (T) -> Int) -> T {
    tiles.first { bytes($0) <= sharedBytes } ?? tiles[tiles.count - 1]
  }
}
