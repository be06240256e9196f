import AttentionCUDA
import AttentionCUDAKernels
import AttentionTensors

/// The tile in which one of the kernels of the backward pass works.
struct FlashBackwardTile: Hashable, Sendable {
  /// What a block owns rows of, and whose gradients it computes; the others go by.
  enum Owner: String, CaseIterable, Sendable {
    case queries
    /// Both, where the registers of a block hold two gradients.
    case keysAndValues
    case keys, values
  }

  /// Two gradients of 128 columns fill the registers of a block.
  static let largestCommonDimension = 128

  let owner: Owner
  let rows: TileRows
  /// Tiles of what goes by that there is room for.
  let stages: Int
  let columns: TileColumns
  let features: FlashFeatures
  /// Of a block, where Hopper's own instructions are used; one more copies.
  let warpgroups: Int?

  private static let hopperWarpgroups = 2

  /// The kernels for a problem, in the order in which they run.
  static func all(
    keyDimension: Int, valueDimension: Int, features: FlashFeatures, limits: TileLimits
  ) -> [FlashBackwardTile] {
    let owners: [Owner] =
      max(padded(keyDimension), padded(valueDimension)) <= largestCommonDimension
      ? [.queries, .keysAndValues] : [.queries, .keys, .values]
    return owners.map {
      FlashBackwardTile(
        $0, keyDimension: keyDimension, valueDimension: valueDimension, features: features,
        limits: limits)
    }
  }

  private static func padded(_ dimension: Int) -> Int { FlashTile.padded(dimension) }

  /// A warp owns two strips of 16 rows where registers hold their gradients, as in the forward pass:
  /// always those of queries, which are one gradient; those of keys and values, which are two, up to
  /// dimension 64. Where anything but the products needs registers, in float32, or on a device that is none
  /// of Hopper's, tiles are smaller.
  init(
    _ owner: Owner, keyDimension: Int, valueDimension: Int, features: FlashFeatures,
    limits: TileLimits
  ) {
    let columns = TileColumns(
      keyDimension: keyDimension, valueDimension: valueDimension, features.element)
    let usesWarpgroups = features.usesWarpgroups(columns, limits)
    warpgroups = usesWarpgroups ? Self.hopperWarpgroups : nil
    let candidates: [Candidate]
    switch (owner, features.element.isHalf) {
    case _ where usesWarpgroups:
      candidates = [Self.hopper(owner, columns.widest, features)]
    case (.queries, true): candidates = Self.queries(columns.widest, features, limits.capability)
    case (.queries, false): candidates = Self.singleQueries(columns.widest, limits.capability)
    case (_, true): candidates = Self.keys(columns.widest, features, limits.capability)
    case (_, false): candidates = Self.singleKeys(columns.widest)
    }
    let chosen = limits.first(of: candidates) {
      Self.sharedBytes(owner, $0, columns, features, usesWarpgroups: usesWarpgroups)
    }
    self.owner = owner
    (rows, stages) = (chosen.rows, chosen.stages)
    self.columns = columns
    self.features = features
  }

  private struct Candidate {
    let rows: TileRows
    let stages: Int

    init(_ queries: Int, _ keys: Int, warps: Int = 4, blocks: Int = 2, stages: Int = 2) {
      rows = TileRows(queries, keys, warps: warps, blocks: blocks)
      self.stages = stages
    }
  }

  /// As many rows go by at once as leave registers for the gradients. Where queries are owned, keys are
  /// needed until the next turn: with room for two tiles nothing would arrive meanwhile.
  /// Of float32 as many as shared memory holds twice.
  private static func hopper(_ owner: Owner, _ widest: Int, _ features: FlashFeatures) -> Candidate
  {
    let own = hopperWarpgroups * group_rows
    let warps = hopperWarpgroups * group_threads / warp_threads
    if !features.element.isHalf {
      let others = widest <= 64 ? 64 : 48
      return owner == .queries
        ? Candidate(own, others, warps: warps, blocks: 1)
        : Candidate(others, own, warps: warps, blocks: 1)
    }
    let hasRoom = widest <= 64
    return owner == .queries
      ? Candidate(
        own, hasRoom && !features.terms.contains(.bias) ? 128 : 64, warps: warps, blocks: 1,
        stages: features.terms.contains(.bias) && features.biasBytes > 2 ? 2 : 3)
      : Candidate(
        hasRoom && features.terms.isSubset(of: [.softcap, .alibi]) ? 96 : 64, own, warps: warps,
        blocks: 1)
  }

  private static func queries(_ widest: Int, _ features: FlashFeatures, _ capability: Int)
    -> [Candidate]
  {
    switch widest {
    case ...64: [Candidate(128, features.hasTerms || capability > FlashTile.hopper ? 32 : 48)]
    case ...128:
      [
        features.hasTerms
          ? Candidate(64, 32)
          : features.isPacked || features.dividesByLengths ? Candidate(64, 64) : Candidate(128, 32)
      ]
    default: [Candidate(64, 32, blocks: 1), Candidate(32, 16, warps: 2, blocks: 1)]
    }
  }

  private static func singleQueries(_ widest: Int, _ capability: Int) -> [Candidate] {
    switch widest {
    case ...64: [Candidate(64, capability > FlashTile.hopper ? 32 : 64)]
    case ...128: [Candidate(64, 16)]
    default:
      [
        Candidate(64, 16, blocks: 1), Candidate(32, 16, warps: 2, blocks: 1),
        Candidate(16, 16, warps: 1, blocks: 1),
      ]
    }
  }

  private static func keys(_ widest: Int, _ features: FlashFeatures, _ capability: Int)
    -> [Candidate]
  {
    switch widest {
    case ...64: [features.hasTerms ? Candidate(32, 64) : Candidate(32, 128)]
    case ...128:
      [Candidate(features.hasTerms ? 32 : capability < FlashTile.hopper ? 48 : 64, 64)]
    default: [Candidate(32, 64, blocks: 1), Candidate(16, 32, warps: 2, blocks: 1)]
    }
  }

  private static func singleKeys(_ widest: Int) -> [Candidate] {
    switch widest {
    case ...64: [Candidate(32, 64)]
    case ...128: [Candidate(16, 64)]
    default:
      [
        Candidate(16, 64, blocks: 1), Candidate(16, 64, blocks: 1, stages: 1),
        Candidate(16, 32, warps: 2, blocks: 1, stages: 1),
      ]
    }
  }

  private static func sharedBytes(
    _ owner: Owner, _ tile: Candidate, _ columns: TileColumns, _ features: FlashFeatures,
    usesWarpgroups: Bool
  ) -> Int {
    let ownsQueries = owner == .queries
    return columns.sharedBytes(
      ownsQueries ? owns_queries_and_outputs : owns_keys_and_values,
      owned: ownsQueries ? tile.rows.queries : tile.rows.keys,
      passing: ownsQueries ? tile.rows.keys : tile.rows.queries, stages: tile.stages, features,
      usesWarpgroups: usesWarpgroups)
  }

  var sharedBytes: Int {
    Self.sharedBytes(
      owner,
      Candidate(
        rows.queries, rows.keys, warps: rows.warps, blocks: rows.blocks, stages: stages),
      columns, features, usesWarpgroups: warpgroups != nil)
  }

  /// Rows of a tile that goes by.
  private var passing: Int { owner == .queries ? rows.keys : rows.queries }

  /// Threads of a block.
  var threads: Int { rows.threads + (warpgroups == nil ? 0 : group_threads) }

  var kernel: String {
    let prefix = warpgroups == nil ? "" : "hopper_"
    return "attention/\(prefix)backward_\(owner == .queries ? "queries" : "keys")"
  }

  /// - Parameter isWide: whether gradients are written as float32.
  func definitions(isWide: Bool) -> [String] {
    let all = features.definitions + columns.definitions + ["WIDE=\(isWide ? 1 : 0)"]
    if let warpgroups {
      let all = all + features.hopperDefinitions
      let passing = "\(owner == .queries ? "KEY_ROWS" : "QUERY_ROWS")=\(passing)"
      return all + [passing, "STAGES=\(stages)", "WARPGROUPS=\(warpgroups)"]
    }
    let common = all + rows.definitions
    guard owner != .queries else { return common }
    return common + [
      "STAGES=\(stages)", "OF_KEYS=\(owner == .values ? 0 : 1)",
      "OF_VALUES=\(owner == .keys ? 0 : 1)",
    ]
  }
}
