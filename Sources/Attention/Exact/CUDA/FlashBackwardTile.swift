import CUDA
import Tensors

/// The tile in which one of the kernels of the backward pass works.
struct FlashBackwardTile: Hashable, Sendable {
  /// Which gradients a kernel computes: a block owns rows of these, and the others go by.
  enum Owner: String, CaseIterable, Sendable {
    case queries, keys
  }

  /// Two gradients of 128 columns fill the registers of a block.
  static let largestDimension = 128
  private static let warps = 4
  private static let blocks = 2
  private static let threadsPerWarpgroup = 128

  let owner: Owner
  let queryRows: Int
  let keyRows: Int
  let keyDimension: Int
  let valueDimension: Int
  let hasKeyMask: Bool
  let dividesByLengths: Bool
  /// Of a block, where Hopper's own matrix instructions are used: on Hopper, where nothing but the band
  /// masks, and the dimensions are whole blocks of shared memory as those instructions read it.
  let warpgroups: Int?

  /// A warp owns two strips of 16 rows where registers hold their gradients, as in the forward pass:
  /// always those of queries, which are one gradient; those of keys and values, which are two, up to
  /// dimension 64. Where lengths need registers too, or the device is none of Hopper's, tiles are smaller.
  init(
    _ owner: Owner, keyDimension: Int, valueDimension: Int, hasKeyMask: Bool,
    dividesByLengths: Bool, capability: Int
  ) {
    self.owner = owner
    self.keyDimension = FlashTile.padded(keyDimension)
    self.valueDimension = FlashTile.padded(valueDimension)
    self.hasKeyMask = hasKeyMask
    self.dividesByLengths = dividesByLengths
    let isNarrow = max(self.keyDimension, self.valueDimension) <= 64
    let areBlocks = [self.keyDimension, self.valueDimension].allSatisfy { [64, 128].contains($0) }
    warpgroups =
      capability == FlashTile.hopper && areBlocks && !hasKeyMask && !dividesByLengths ? 2 : nil
    switch owner {
    case .queries where warpgroups != nil: (queryRows, keyRows) = (128, 128)
    case .keys where warpgroups != nil: (queryRows, keyRows) = (isNarrow ? 96 : 64, 128)
    case .queries where isNarrow:
      (queryRows, keyRows) = (128, capability > FlashTile.hopper ? 32 : 48)
    case .queries: (queryRows, keyRows) = dividesByLengths ? (64, 64) : (128, 32)
    case .keys where isNarrow: (queryRows, keyRows) = (32, 128)
    case .keys: (queryRows, keyRows) = (capability < FlashTile.hopper ? 48 : 64, 64)
    }
  }

  var threads: Int {
    warpgroups.map { $0 * Self.threadsPerWarpgroup } ?? Self.warps * FlashTile.threadsPerWarp
  }

  /// Rows of the owner's two tensors; those of the other two twice, one tile being read while the next
  /// arrives; and what is kept of each row that goes by.
  var sharedBytes: Int {
    let stages = 2
    let pitch = FlashTile.pitch
    let columns = keyDimension.rounded(up: pitch) + valueDimension.rounded(up: pitch)
    let (own, others, numbers) =
      owner == .queries
      ? (queryRows, keyRows, dividesByLengths ? 1 : 0)
      : (keyRows, queryRows, dividesByLengths ? 3 : 2)
    return DType.bfloat16.size * columns * (own + stages * others)
      + stages * others * numbers * DType.float32.size
  }

  func variant(_ dtype: DType) -> KernelVariant {
    if let warpgroups {
      return KernelVariant(
        source: "attention/hopper_backward_\(owner).cu", function: "attention_backward_\(owner)",
        definitions: [
          FlashTile.definition(of: dtype), "KEY_DIMENSION=\(keyDimension)",
          "VALUE_DIMENSION=\(valueDimension)",
          owner == .queries ? "KEY_ROWS=\(keyRows)" : "QUERY_ROWS=\(queryRows)",
          "WARPGROUPS=\(warpgroups)",
        ],
        sharedBytes: sharedBytes, isSpecific: true)
    }
    return KernelVariant(
      source: "attention/backward_\(owner).cu", function: "attention_backward_\(owner)",
      definitions: [
        FlashTile.definition(of: dtype), "KEY_DIMENSION=\(keyDimension)",
        "VALUE_DIMENSION=\(valueDimension)", "QUERY_ROWS=\(queryRows)", "KEY_ROWS=\(keyRows)",
        "WARPS=\(Self.warps)", "BLOCKS=\(Self.blocks)", "KEY_MASK=\(hasKeyMask ? 1 : 0)",
        "COSINE=\(dividesByLengths ? 1 : 0)",
      ],
      sharedBytes: sharedBytes)
  }
}
