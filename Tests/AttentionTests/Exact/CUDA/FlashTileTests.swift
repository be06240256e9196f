import AttentionCUDA
import AttentionTensors
import Testing

@testable import AttentionOperators

/// The choice of tiles, splits and bounds, without a GPU.
@Suite struct FlashTileTests {
  private static let everyFeature: [FlashFeatures] = FlashElement.allCases.flatMap { element in
    (0..<32).map { bits in
      var features = FlashFeatures(element)
      features.hasKeyMask = bits & 1 != 0
      features.dividesByLengths = bits & 2 != 0
      features.terms = bits & 4 != 0 ? .ofScores : []
      features.isPacked = bits & 8 != 0
      features.hasHeadScales = bits & 16 != 0
      return features
    }
  }

  /// float32 sequences long enough for two-part products, and each term alone.
  private static let ofHopper: [FlashFeatures] = [FlashElement.tf32x3, .bf16].flatMap { element in
    [ScoreTermSet(), .softcap, .alibi, .bias, .logitDecay].flatMap { terms in
      [nil, DType.bfloat16, .bool, .float32].flatMap { bias in
        [false, true].map { isPacked in
          var features = FlashFeatures(element)
          features.isLong = true
          features.isPacked = isPacked
          features.terms = terms
          features.bias = terms == .bias ? bias : nil
          return features
        }
      }
    }
  }

  private static let dimensions = [(1, 1), (64, 64), (65, 16), (128, 128), (16, 129), (256, 256)]

  /// Capability and shared memory per block: A100, RTX 30, RTX 40, H100, B200, RTX 50.
  private static let devices = [(80, 163), (86, 99), (89, 99), (90, 227), (100, 227), (120, 99)]
    .map { TileLimits(capability: $0, sharedBytes: $1 << 10) }

  @Test(arguments: devices)
  func everyTileFits(limits: TileLimits) {
    for (key, value) in Self.dimensions {
      for features in Self.everyFeature + Self.ofHopper {
        for splits in [nil, 7] {
          let tile = FlashTile(
            keyDimension: key, valueDimension: value, features: features, splits: splits,
            limits: limits)
          let combination = "\(limits) \(key) \(value) \(tile)"
          #expect(tile.sharedBytes <= limits.sharedBytes, "\(combination)")
          #expect(tile.columns.keys >= key && tile.columns.keys % 16 == 0, "\(combination)")
          #expect(tile.columns.values >= value && tile.columns.values % 16 == 0, "\(combination)")
          #expect(tile.rows.queries % (16 * tile.rows.warps) == 0, "\(combination)")
          #expect(tile.rows.keys % 16 == 0, "\(combination)")
        }
      }
    }
  }

  @Test(arguments: devices)
  func everyBackwardTileFits(limits: TileLimits) {
    for (key, value) in Self.dimensions {
      for features in Self.everyFeature + Self.ofHopper {
        let tiles = FlashBackwardTile.all(
          keyDimension: key, valueDimension: value, features: features, limits: limits)
        #expect(tiles.count == (max(key, value) <= 128 ? 2 : 3))
        for tile in tiles {
          let combination = "\(limits) \(key) \(value) \(tile)"
          #expect(tile.sharedBytes <= limits.sharedBytes, "\(combination)")
          let isOfQueries = tile.owner == .queries
          let own = isOfQueries ? tile.rows.queries : tile.rows.keys
          #expect(own % (16 * tile.rows.warps) == 0, "\(combination)")
          let passing = isOfQueries ? tile.rows.keys : tile.rows.queries
          #expect(passing % 16 == 0 && passing <= tile.rows.threads, "\(combination)")
        }
      }
    }
  }

  /// wgmma multiplies whole blocks of half precision, or of long float32 sequences, with nearly all terms.
  @Test func hoppersInstructionsAreForWholeBlocks() {
    func usesThem(_ dimension: Int, _ features: FlashFeatures, _ capability: Int = 90) -> Bool {
      FlashBackwardTile.all(
        keyDimension: dimension, valueDimension: dimension, features: features,
        limits: TileLimits(capability: capability, sharedBytes: 227 << 10)
      ).allSatisfy { $0.warpgroups != nil }
    }
    var masked = FlashFeatures(.f16)
    masked.hasKeyMask = true
    var long = FlashFeatures(.tf32x3)
    long.isLong = true
    var rounded = FlashFeatures(.tf32)
    rounded.isLong = true
    #expect(usesThem(64, FlashFeatures(.bf16)) && usesThem(128, FlashFeatures(.f16)))
    #expect(!usesThem(32, FlashFeatures(.bf16)) && !usesThem(256, FlashFeatures(.bf16)))
    #expect(usesThem(64, masked))
    func with(_ terms: ScoreTermSet, bias: DType? = nil, _ element: FlashElement = .bf16)
      -> FlashFeatures
    {
      var features = FlashFeatures(element)
      (features.terms, features.bias, features.isLong) = (terms, bias, true)
      return features
    }
    #expect(usesThem(128, with([.softcap, .alibi])) && usesThem(64, with(.logitDecay, .tf32x3)))
    #expect(!usesThem(64, with([.softcap, .logitDecay])))
    #expect(usesThem(128, with(.bias, bias: .bfloat16)) && usesThem(64, with(.bias, bias: .bool)))
    #expect(
      !usesThem(64, with(.bias, bias: .float64))
        && !usesThem(64, with(.bias, bias: .float32, .tf32x3)))
    var gradient = with(.bias, bias: .float32)
    gradient.hasBiasGradient = true
    #expect(!usesThem(64, gradient))
    #expect(usesThem(64, long) && usesThem(128, long) && !usesThem(64, rounded))
    #expect(!usesThem(64, FlashFeatures(.tf32x3)) && !usesThem(64, long, 100))
    #expect(!usesThem(64, FlashFeatures(.bf16), 100) && !usesThem(64, FlashFeatures(.bf16), 80))
  }

  @Test func whatIsCompiledSaysAllThatDiffers() {
    func definitions(_ dimension: Int, _ features: FlashFeatures, _ splits: Int?) -> [String] {
      FlashTile(
        keyDimension: dimension, valueDimension: dimension, features: features, splits: splits,
        limits: TileLimits(capability: 90, sharedBytes: 227 << 10)
      ).definitions
    }
    let variants = [16, 64, 128, 256].flatMap { dimension in
      Self.everyFeature.flatMap { features in
        [nil, 3].map { definitions(dimension, features, $0) }
      }
    }
    #expect(Set(variants).count == variants.count)
    let plain = FlashFeatures(.bf16)
    #expect(definitions(60, plain, nil) == definitions(64, plain, nil))
    #expect(definitions(64, plain, 3) == definitions(64, plain, 9))
  }

  /// Few queries and many keys are split to fill the device; short or many-query problems stay in one kernel.
  @Test func keysOfFewQueriesAreSplit() throws {
    func parts(_ batch: Int, _ queries: Int, _ keys: Int, _ heads: Int, _ groups: Int) throws
      -> Int?
    {
      let key = try Tensor.zeros([batch, keys, groups, 64], dtype: .bfloat16)
      let inputs = try OperatorCall<ExactAttention>(
        queries: .zeros([batch, queries, heads, 64], dtype: .bfloat16), keys: key, values: key)
      return FlashSplit.parts(inputs.problem, longestQueries: queries, multiprocessors: 132)
    }
    #expect(try parts(1, 1, 16_384, 8, 8) == 66)
    #expect(try parts(1, 1, 1024, 8, 8) == 8)
    #expect(try parts(4, 2, 16_384, 32, 4) == 33)
    #expect(try parts(1, 1, 511, 8, 8) == nil)
    #expect(try parts(1, 65, 16_384, 8, 8) == nil)
    #expect(try parts(64, 1, 16_384, 8, 8) == nil)
  }

  @Test func boundsThatAreConstant() throws {
    func bound(_ scale: Scale, _ groups: Int, _ dtype: DType, _ terms: ScoreTerms = .init())
      throws -> Float?
    {
      let tensor = try Tensor.zeros([1, 2, 2, 8], dtype: dtype)
      let inputs = try OperatorCall<ExactAttention>(
        queries: tensor, keys: tensor, values: tensor,
        similarity: .cosine(scale: scale, groups: groups), terms: terms
      ).arguments()
      return ScoreBound.onDevice(inputs).map { abs(inputs.scale[0]) * $0.factor - $0.rise }
    }
    #expect(try bound(.number(8), 1, .bfloat16) == 8)
    #expect(try bound(.number(-20), 2, .bfloat16) == 40)
    #expect(try bound(.number(21), 2, .bfloat16) == nil)
    #expect(try bound(.number(9), 1, .float16) == -1)
    #expect(try bound(.number(10), 1, .float16) == nil)
    // With scales per head, the kernel decides.
    #expect(try bound(.perHead(Tensor([41, 2] as [Float])), 1, .bfloat16) == 41)
    #expect(
      try bound(.perHead(.ones([2])), 1, .bfloat16, ScoreTerms(alibi: .standard)) == nil)
    #expect(try bound(.number(8), 1, .bfloat16, ScoreTerms(alibi: .standard)) == nil)
    #expect(try bound(.number(8), 1, .bfloat16, ScoreTerms(sinks: .zeros([2]))) == nil)
  }

  /// Without the requested device, the objection says what is missing; on the CPU it is not looked for.
  @Test func theDeviceIsAnObjection() throws {
    let tensor = try Tensor.zeros([1, 2, 2, 8], dtype: .bfloat16)
    func verdict(_ device: Device?) throws -> Explanation {
      try OperatorCall<ExactAttention>(
        queries: tensor, keys: tensor, values: tensor
      ).explanation(on: device)
    }
    let onCPU = try verdict(nil)
    let flash = try #require(onCPU.candidates.first { $0.kernel == "cuda.flash" })
    #expect(flash.objection?.reason == "runs on a GPU, not on cpu")
    let absent = try verdict(.cuda(4096))
    #expect(absent.chosen == nil && absent.problem.contains("cuda:4096"))
    for candidate in absent.candidates { #expect(candidate.objection != nil) }
  }
}
