import AttentionLayers
import AttentionTensors
import TestSupport
import Testing

@testable import AttentionLanguageModels

/// The step of a model as one kernel, compared with the layers' operations on the CPU.
@Suite(.onGPU) struct DecodingProgramTests {
  /// The difference that float32 rounding in two orders of computation may make after a few layers.
  private static let tolerance = 2e-5

  /// Widths at which the kernel divides rows, heads and vocabularies unevenly among blocks and warps.
  private static let hidden = 192

  private static func configuration(
    _ layers: [LayerConfiguration], isTied: Bool = true, vocabulary: Int = 83
  ) -> LanguageModelConfiguration {
    var configuration = LanguageModelConfiguration(
      hiddenSize: hidden, layers: LayerSchedule(layers))
    configuration.vocabularySize = vocabulary
    configuration.hasTiedEmbeddings = isTied
    return configuration
  }

  struct Case: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let configuration: LanguageModelConfiguration
  }

  static let cases: [Case] = {
    let softmax = LayerConfiguration.softmax(.init(heads: 3, headDimension: 64))
    let grouped = LayerConfiguration.softmax(
      .init(heads: 6, keyValueHeads: 2, headDimension: 64))
    let wide = LayerConfiguration.softmax(.init(heads: 2, keyValueHeads: 1, headDimension: 128))
    func normed() -> LayerConfiguration {
      var options = ExactAttentionOptions(heads: 2, headDimension: 64)
      options.queryKeyNorm = .init(NormOptions(.rms))
      options.rotaryDimension = 16
      options.hasBias = true
      return .softmax(options)
    }
    func deltaLayer(_ options: GatedDeltaNet.Options) -> LayerConfiguration {
      LayerConfiguration(GatedDeltaNetConfiguration(options))
    }
    var gated = GatedLinearAttention.Options(heads: 1)
    gated.keyExpansion = 0.5
    var shared = GatedLinearAttention.Options(heads: 3)
    shared.keyValueHeads = 1
    shared.keyExpansion = 1
    shared.decayRank = nil
    shared.gate = .sigmoid
    shared.convolution = ConvolutionOptions(width: 3)
    var delta = GatedDeltaNet.Options(heads: 1)
    delta.valueHeads = 3
    delta.keyDimension = 48
    delta.valueDimension = 64
    var negative = GatedDeltaNet.Options(heads: 3)
    negative.gate = nil
    negative.allowsNegativeEigenvalues = true
    negative.convolution = ConvolutionOptions(width: 2, hasBias: true)
    return [
      Case(
        testDescription: "softmax",
        configuration: configuration([softmax, grouped, wide, normed()], isTied: false)),
      Case(
        testDescription: "gated linear",
        configuration: configuration([.gatedLinear(gated), .gatedLinear(shared)])),
      Case(
        testDescription: "gated delta",
        configuration: configuration([delta, negative].map(deltaLayer))),
      Case(
        testDescription: "hybrid",
        configuration: configuration(
          [.gatedLinear(gated), grouped, deltaLayer(delta)], vocabulary: 300)),
    ]
  }()

  private func models(_ test: Case, dtype: DType = .float32) throws -> (
    reference: LanguageModel, onGPU: LanguageModel
  ) {
    let scope = ParameterScope(seed: 1)
    _ = try LanguageModel(test.configuration, scope: scope)
    // Norms and biases that start as ones and zeros would not be seen.
    let parameters = try scope.parameters.mapping { tensor in
      try (tensor + normal(tensor.shape, 5, dtype: .float32) * 0.05).cast(to: dtype)
    }
    return (
      try LanguageModel(
        test.configuration, parameters: parameters.mapping { try $0.cast(to: .float32) }),
      try LanguageModel(test.configuration, parameters: parameters.moved(to: GPU.device))
    )
  }

  private func tokens(_ count: Int, of test: Case, seed: UInt64 = 1) throws -> Tensor {
    var generator = Philox(seed: seed)
    let bound = test.configuration.vocabularySize
    return try Tensor((0..<count).map { _ in Int32(generator.next(below: bound)) }, [1, count])
  }

  private func logits(
    _ model: LanguageModel, _ tokens: Tensor, pieces: [Int], _ cache: inout LanguageModel.Cache
  ) throws -> Tensor {
    var start = 0
    let pieces = try pieces.map { size in
      defer { start += size }
      return try model.step(tokens.sliced(1, start..<start + size), cache: &cache)
        .cast(to: .float32)
    }
    return try .concatenated(pieces, 1)
  }

  @Test(arguments: cases, [[Int](repeating: 1, count: 6), [5, 1, 1, 3, 1, 1]])
  func logitsAreThoseOfTheLayers(_ test: Case, _ pieces: [Int]) throws {
    let (reference, onGPU) = try models(test)
    #expect(try onGPU.decodingObjection() == nil)
    let tokens = try tokens(pieces.reduce(0, +), of: test)
    var cache = onGPU.makeCache()
    let actual = try logits(onGPU, tokens, pieces: pieces, &cache)
    #expect(try relativeError(actual, reference(tokens)) < Self.tolerance)
    #expect(cache.tokenCount == tokens.elementCount)
  }

  /// Beyond the room of the first program, and with keys in several parts.
  @Test func longSequencesMoveToMoreRoom() throws {
    let test = Case(
      testDescription: "one layer",
      configuration: Self.configuration(
        [.softmax(.init(heads: 2, keyValueHeads: 1, headDimension: 64))], vocabulary: 16))
    let (reference, onGPU) = try models(test)
    let tokens = try tokens(262, of: test)
    var cache = onGPU.makeCache()
    let actual = try logits(onGPU, tokens, pieces: [Int](repeating: 1, count: 262), &cache)
    #expect(try relativeError(actual, reference(tokens)) < Self.tolerance)
    #expect(cache.byteCount >= 262 * 2 * 64 * 4)
  }

  @Test func aCopiedCacheIsAnIndependentContinuation() throws {
    let test = Self.cases[Self.cases.count - 1]
    let (reference, onGPU) = try models(test)
    let (tokens, other) = (try tokens(8, of: test), try self.tokens(8, of: test, seed: 7))
    var cache = onGPU.makeCache()
    _ = try logits(onGPU, tokens, pieces: [3, 1, 1], &cache)
    var copy = cache
    func rest(_ own: Tensor, _ cache: inout LanguageModel.Cache) throws -> Double {
      let actual = try logits(onGPU, own.sliced(1, 5..<8), pieces: [1, 1, 1], &cache)
      let whole = try Tensor.concatenated([tokens.sliced(1, 0..<5), own.sliced(1, 5..<8)], 1)
      return try relativeError(actual, reference(whole).sliced(1, 5..<8))
    }
    #expect(try rest(other, &copy) < Self.tolerance)
    #expect(try rest(tokens, &cache) < Self.tolerance)
  }

  /// Activations stay float32: only keys, values and weights are rounded, and the weights are so for both.
  @Test func halfPrecisionRoundsKeysAndValuesOnly() throws {
    let test = Self.cases[Self.cases.count - 1]
    let (reference, onGPU) = try models(test, dtype: .bfloat16)
    let tokens = try tokens(7, of: test)
    var cache = onGPU.makeCache()
    let actual = try logits(onGPU, tokens, pieces: [1, 1, 1, 1, 1, 1, 1], &cache)
    let halfUnit = 1.0 / 512
    #expect(try relativeError(actual, reference(tokens)) < halfUnit)
  }

  @Test func whatTheKernelLacksIsSaid() throws {
    var options = ExactAttentionOptions(heads: 3, headDimension: 64)
    options.window = 5
    func objection(_ layers: [LayerConfiguration]) throws -> String? {
      try models(
        Case(testDescription: "", configuration: Self.configuration(layers))
      ).onGPU.decodingObjection()
    }
    #expect(try objection([.softmax(options)])?.contains("window") == true)
    #expect(
      try objection([.softmax(.init(heads: 4, headDimension: 48))])?.contains("48") == true)
    #expect(
      try objection([.cosine(.init(heads: 3, headDimension: 64), scale: 5)])?
        .contains("CosineAttention") == true)
    #expect(
      try LanguageModel(
        Self.cases[0].configuration, scope: ParameterScope(seed: 1)
      ).decodingObjection() != nil)
  }

  @Test func tokensOutsideTheVocabularyAreErrors() throws {
    let test = Self.cases[1]
    let model = try models(test).onGPU
    for token in [-1, Int32(test.configuration.vocabularySize)] {
      var cache = model.makeCache()
      #expect(throws: LayerError.self) {
        try model.step(Tensor([token], [1, 1]), cache: &cache)
      }
      #expect(cache.tokenCount == 0)
    }
  }
}
