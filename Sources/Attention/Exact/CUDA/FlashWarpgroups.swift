import AttentionCUDAKernels
import AttentionTensors

/// Warpgroups of a block of Hopper's kernels, and how many those of the forward pass have.
enum FlashWarpgroups {
  /// The most keys or queries that a block owns or streams.
  static let widestTile = 192

  /// Keys of a tile. Of float32, what lies in registers and shared memory takes twice the room. Tiles of a bias
  /// need room too.
  static func keys(_ features: FlashFeatures, widest: Int) -> Int {
    guard features.element.isHalf else { return 64 }
    if widest > 64 { return features.terms.contains(.bias) ? 96 : 128 }
    return features.terms.contains(.bias) ? 64 : features.terms.contains(.alibi) ? 96 : 128
  }
  /// The most: their outputs and scores fill the registers of a multiprocessor.
  static func most(_ features: FlashFeatures, widest: Int) -> Int {
    let hasRoom = features.element.isHalf || features.terms.isSubset(of: .softcap)
    return widest <= 64 && hasRoom ? 3 : 2
  }
  /// The rate of blocks with three beside that of blocks with two, both with whole tiles (an H200, dimension
  /// 64): three hide more of one another's weights.
  private static let gainOfThree = 1.2

  /// Three where registers allow it, unless the queries are so few, or the causal edge cuts so much off
  /// tall tiles, that two compute less by more than three are faster.
  static func count(
    _ segment: ExactArguments.Segment?, widest: Int, _ features: FlashFeatures
  ) -> Int {
    let most = most(features, widest: widest)
    guard most == 3, let segment else { return most }
    let keys = keys(features, widest: widest)
    return Double(work(segment, most, keys)) > gainOfThree * Double(work(segment, 2, keys))
      ? 2 : most
  }

  /// Rows times tiles of `keys` that blocks of `groups` warpgroups compute for a sequence.
  private static func work(_ segment: ExactArguments.Segment, _ groups: Int, _ keys: Int) -> Int {
    let height = groups * group_rows
    return stride(from: 0, to: segment.queryCount, by: height).reduce(0) { sum, first in
      let visible = segment.band.visibleKeys(
        rows: first..<min(first + height, segment.queryCount), keys: segment.keyCount)
      guard !visible.isEmpty else { return sum }
      return sum + height
        * (visible.upperBound.pieces(of: keys) - visible.lowerBound / keys)
    }
  }
}
