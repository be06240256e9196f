import AttentionTensors

/// What decides on the tiles of exact attention on a device.
struct FlashPlanKey: Hashable, Sendable {
  var keyDimension: Int
  var valueDimension: Int
  var features: FlashFeatures
  var limits: TileLimits

  init(_ problem: ExactProblem, _ features: FlashFeatures, _ limits: TileLimits) {
    keyDimension = problem.keyDimension
    valueDimension = problem.valueDimension
    self.features = features
    self.limits = limits
  }
}

/// The tile of a forward pass and its kernel: worked out once for all calls that are alike.
final class FlashForwardPlan: Sendable {
  let tile: FlashTile
  let kernel: DeviceKernel

  private struct Key: Hashable, Sendable {
    let common: FlashPlanKey
    let hasConstantBound: Bool
    let splits: Int?
    let longest: ExactArguments.Segment?
  }

  private static let known = Remembered<Key, FlashForwardPlan>()

  /// - Parameter longest: the longest sequence.
  static func of(
    _ key: FlashPlanKey, hasConstantBound: Bool, splits: Int?, longest: ExactArguments.Segment?
  ) -> FlashForwardPlan {
    // Where the sequence lies among others does not matter.
    var longest = longest
    longest?.batch = 0
    longest?.queryStart = 0
    longest?.keyStart = 0
    let key = Key(
      common: key, hasConstantBound: hasConstantBound, splits: splits, longest: longest)
    return known.value(of: key) { FlashForwardPlan(key) }
  }

  private init(_ key: Key) {
    tile = FlashTile(
      keyDimension: key.common.keyDimension, valueDimension: key.common.valueDimension,
      features: key.common.features, hasConstantBound: key.hasConstantBound, splits: key.splits,
      longest: key.longest, limits: key.common.limits)
    kernel = DeviceKernel(
      tile.kernel, definitions: tile.definitions, isSpecific: tile.warpgroups != nil,
      sharedBytes: tile.sharedBytes)
  }
}

/// The tiles of a backward pass and their kernels, in the order in which they run.
final class FlashBackwardPlan: Sendable {
  struct Step: Sendable {
    let tile: FlashBackwardTile
    let kernel: DeviceKernel
  }

  let steps: [Step]
  let columns: TileColumns
  /// Whether Hopper's kernels run, which read ``FlashMaps``.
  let usesMaps: Bool

  private struct Key: Hashable, Sendable {
    let common: FlashPlanKey
    let isWide: Bool
  }

  private static let known = Remembered<Key, FlashBackwardPlan>()

  /// - Parameter isWide: whether gradients are written as float32.
  static func of(_ key: FlashPlanKey, isWide: Bool) -> FlashBackwardPlan {
    let key = Key(common: key, isWide: isWide)
    return known.value(of: key) { FlashBackwardPlan(key) }
  }

  private init(_ key: Key) {
    let tiles = FlashBackwardTile.all(
      keyDimension: key.common.keyDimension, valueDimension: key.common.valueDimension,
      features: key.common.features, limits: key.common.limits)
    columns = tiles[0].columns
    usesMaps = tiles[0].warpgroups != nil
    steps = tiles.map { tile in
      Step(
        tile: tile,
        kernel: DeviceKernel(
          tile.kernel, definitions: tile.definitions(isWide: key.isWide),
          isSpecific: tile.warpgroups != nil, sharedBytes: tile.sharedBytes))
    }
  }
}
