import AttentionLayers
import AttentionTensors
import Testing

@testable import AttentionLanguageModels

/// Sequences that are continued together do not notice each other.
@Suite struct TogetherTests {
  /// The lengths of the prompts: below and above the sizes of chunks and windows.
  private static let lengths = [1, 3, 7, 20, 33, 64, 65, 2, 9]

  /// Each row has the bits of its sequence alone, over several steps, while sequences come and go.
  private func expectTheSameBits(_ model: LanguageModel, _ name: String) throws {
    let vocabulary = model.vocabularySize
    var generator = Philox(seed: 3)
    func token() -> Int32 { Int32(generator.next(below: vocabulary)) }
    let prompts = Self.lengths.map { length in (0..<length).map { _ in token() } }
    func cache(after prompt: [Int32]) throws -> LanguageModel.Cache {
      var cache = model.makeCache()
      _ = try model.step(Tensor(prompt, [1, prompt.count]), cache: &cache)
      return cache
    }
    var alone = try prompts.map(cache)
    var together = try prompts.map(cache)
    for members in [[0, 1, 2, 3, 4, 5, 6, 7, 8], [8, 3, 0, 5], [1, 2], [4]] {
      let tokens = members.map { _ in token() }
      var caches = members.map { together[$0] }
      let rows = try model.stepTogether(tokens, caches: &caches)
      #expect(rows.shape == [members.count, vocabulary])
      for (place, member) in members.enumerated() {
        together[member] = caches[place]
        let own = try model.step(Tensor([tokens[place]], [1, 1]), cache: &alone[member])
        let bits = try own.cast(to: .float32).elements(as: Float.self).map(\.bitPattern)
        let row = try rows.selected(0, place).cast(to: .float32).elements(as: Float.self)
        #expect(row.map(\.bitPattern) == bits, "\(name), sequence \(member) among \(members)")
        #expect(together[member].tokenCount == alone[member].tokenCount)
      }
    }
  }

  @Test(arguments: ModelCase.all) func rowsHaveTheBitsOfTheirSequences(_ test: ModelCase) throws {
    for dtype in [DType.float32, .bfloat16] {
      try expectTheSameBits(test.model(dtype: dtype), "\(test.name), \(dtype)")
    }
  }

  @Test(arguments: MixerRegistry.builtIn.map { $0.name })
  func mixersOfAllKindsMixTogether(_ name: String) throws {
    try expectTheSameBits(
      LanguageModel(
        ModelCase.configuration(ofMixer: name), scope: ParameterScope(seed: 1, dtype: .float32)),
      name)
  }

  @Test func numbersOfTokensAndCachesMustAgree() throws {
    let model = try ModelCase.all[0].model()
    var caches = [model.makeCache()]
    #expect(throws: LayerError.self) { try model.stepTogether([1, 2], caches: &caches) }
    caches = []
    #expect(throws: LayerError.self) { try model.stepTogether([], caches: &caches) }
    let other = try ModelCase.all[6].model()
    caches = [model.makeCache(), other.makeCache()]
    #expect(throws: LayerError.self) { try model.stepTogether([1, 2], caches: &caches) }
    #expect(caches.map(\.tokenCount) == [0, 0])
  }
}
