import CUDA
import Tensors
import Testing

@testable import Attention

/// The choice of tiles and bounds, which needs no GPU.
@Suite struct FlashTileTests {
  private static let everyFeature: [FlashFeatures] = (0..<16).map { bits in
    FlashFeatures(
      hasKeyMask: bits & 1 != 0, dividesByLengths: bits & 2 != 0,
      hasConstantBound: bits & 4 != 0, hasTerms: bits & 8 != 0)
  }

  /// Capability and shared memory of a block: A100, RTX 30, RTX 40, H100, B200, RTX 50.
  @Test(arguments: [
    (80, 163), (86, 99), (89, 99), (90, 227), (100, 227), (120, 99),
  ])
  func everyTileFits(capability: Int, kibibytes: Int) {
    for (key, value) in [(1, 1), (64, 64), (65, 16), (128, 128), (16, 129), (256, 256)] {
      for features in Self.everyFeature {
        let tile = FlashTile(
          keyDimension: key, valueDimension: value, features: features, capability: capability,
          sharedBytes: kibibytes << 10)
        let combination = "\(capability) \(key) \(value) \(features) \(tile)"
        #expect(tile.sharedBytes <= kibibytes << 10, "\(combination)")
        #expect(tile.keyDimension >= key && tile.keyDimension % 16 == 0, "\(combination)")
        #expect(tile.valueDimension >= value && tile.valueDimension % 16 == 0, "\(combination)")
        #expect(tile.queryRows % (16 * tile.warps) == 0, "\(combination)")
        #expect(tile.keyRows % 16 == 0 && tile.keyRows <= tile.threads, "\(combination)")
      }
    }
  }

  @Test func whatIsCompiledSaysAllThatDiffers() {
    func variant(_ dimension: Int, _ features: FlashFeatures, _ dtype: DType) -> KernelVariant {
      FlashTile(
        keyDimension: dimension, valueDimension: dimension, features: features, capability: 90,
        sharedBytes: 227 << 10
      ).variant(dtype)
    }
    let variants = [16, 64, 128, 256].flatMap { dimension in
      Self.everyFeature.flatMap { features in
        [DType.bfloat16, .float16].map { variant(dimension, features, $0) }
      }
    }
    #expect(Set(variants).count == variants.count)
    #expect(variant(60, FlashFeatures(), .bfloat16) == variant(64, FlashFeatures(), .bfloat16))
  }

  @Test(arguments: [(80, 163), (86, 99), (90, 227), (120, 99)])
  func everyBackwardTileFits(capability: Int, kibibytes: Int) {
    for (key, value) in [(1, 1), (64, 64), (65, 16), (16, 128), (128, 128)] {
      for bits in 0..<8 {
        let tile = FlashBackwardTile(
          bits & 1 == 0 ? .queries : .keys, keyDimension: key, valueDimension: value,
          hasKeyMask: bits & 2 != 0, dividesByLengths: bits & 4 != 0, capability: capability)
        #expect(tile.sharedBytes <= kibibytes << 10, "\(capability) \(tile)")
        let own = tile.owner == .queries ? tile.queryRows : tile.keyRows
        #expect(own % (16 * tile.threads / 32) == 0, "\(capability) \(tile)")
        #expect(max(tile.queryRows, tile.keyRows) <= tile.threads, "\(capability) \(tile)")
      }
    }
  }

  @Test func boundsThatAreConstant() throws {
    func bounds(_ scale: Double, _ groups: Int, _ dtype: DType, _ terms: ScoreTerms = .init())
      throws -> [Float]?
    {
      let tensor = try Tensor.zeros([1, 2, 2, 8], dtype: dtype)
      return FlashBound.constants(
        try ExactInputs(
          queries: tensor, keys: tensor, values: tensor,
          similarity: .cosine(scale: .number(scale), groups: groups), mask: AttentionMask(),
          terms: terms, needsGradient: false))
    }
    #expect(try bounds(8, 1, .bfloat16) == [8, 8])
    #expect(try bounds(-20, 2, .bfloat16) == [40, 40])
    #expect(try bounds(21, 2, .bfloat16) == nil)
    #expect(try bounds(9, 1, .float16) == [-1, -1])
    #expect(try bounds(10, 1, .float16) == nil)
    #expect(try bounds(8, 1, .bfloat16, ScoreTerms(alibi: .standard)) == nil)
    #expect(try bounds(8, 1, .bfloat16, ScoreTerms(sinks: .zeros([2]))) == nil)
  }

  /// Without the device asked for, a kernel says what is missing; with the CPU asked for, none of it
  /// is looked for.
  @Test func theDeviceIsAnObjection() throws {
    let tensor = try Tensor.zeros([1, 2, 2, 8], dtype: .bfloat16)
    func verdict(_ device: Device) throws -> Explanation {
      try ExactAttention.explain(
        queries: tensor, keys: tensor, values: tensor, device: device)
    }
    let onCPU = try verdict(.cpu)
    let flash = try #require(onCPU.candidates.first { $0.kernel == "cuda.flash" })
    #expect(flash.objection?.reason == "cpu asked for; it runs on a GPU")
    let absent = try verdict(.cuda(4096))
    #expect(absent.chosen == nil && absent.problem.contains("cuda:4096"))
    for candidate in absent.candidates { #expect(candidate.objection != nil) }
  }
}
