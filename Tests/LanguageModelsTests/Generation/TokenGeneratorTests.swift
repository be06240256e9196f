import AttentionTensors
import Testing

@testable import AttentionLanguageModels

@Suite struct TokenGeneratorTests {
  private static let hybrid = ModelCase.all[6]
  private let prompt: [Int32] = (0..<29).map { $0 % 23 }

  private func generate(
    _ change: (inout GenerationOptions) -> Void = { _ in }
  ) throws -> [Int32] {
    var options = GenerationOptions(maximumTokens: 24)
    change(&options)
    return try Self.hybrid.model().generate(prompt: prompt, options: options)
  }

  @Test func theSameSeedGivesTheSameTokens() throws {
    let first = try generate { $0.seed = 4 }
    #expect(first.count == 24)
    #expect(try generate { $0.seed = 4 } == first)
    #expect(try generate { $0.seed = 5 } != first)
    // One thread or several, the prompt at once or in pieces.
    let threads = Threads.count
    defer { Threads.count = threads }
    Threads.count = 1
    #expect(try generate { $0.seed = 4 } == first)
  }

  @Test func greedyTokensAreTheLikeliestOfTheWholeSequence() throws {
    let model = try Self.hybrid.model()
    for prefill in [1, 7, 512] {
      let tokens = try generate {
        $0.temperature = 0
        $0.prefillLength = prefill
      }
      let whole = prompt + tokens
      let logits = try model(Tensor(whole, [1, whole.count]))
      for (place, token) in tokens.enumerated() {
        let row = try logits.selected(1, prompt.count - 1 + place).elements(as: Float.self)
        let gap = try #require(row.max()) - row[Int(token)]
        #expect(gap < 1e-5, "prefill \(prefill), token \(place)")
      }
    }
  }

  @Test func generationStops() throws {
    let all = try generate()
    #expect(try generate { $0.maximumTokens = 0 } == [])
    #expect(try generate { $0.maximumTokens = 3 } == Array(all.prefix(3)))
    let stop = Array(all[4...5])
    let end = try #require((2...all.count).first { Array(all[..<$0].suffix(2)) == stop })
    #expect(
      try generate { $0.stopSequences = [[22, 22, 22, 22], stop] } == Array(all.prefix(end)))
    var seen: [Int32] = []
    try Self.hybrid.model().generate(prompt: prompt, options: GenerationOptions()) {
      seen.append($0)
      return seen.count < 5
    }
    #expect(seen == Array(all.prefix(5)))
  }

  @Test func aGeneratorEndsOnceAndForAll() throws {
    var generator = try TokenGenerator(
      Self.hybrid.model(), prompt: prompt, options: GenerationOptions(maximumTokens: 1))
    #expect(try generator.next() != nil)
    #expect(try generator.next() == nil)
    #expect(try generator.next() == nil)
    #expect(generator.count == 1)
  }

  @Test func wrongPromptsAreRefused() throws {
    let model = try Self.hybrid.model()
    for wrong: [Int32] in [[], [23], [-1]] {
      #expect(throws: GenerationError.self, "\(wrong)") {
        try model.generate(prompt: wrong, options: GenerationOptions())
      }
    }
  }
}
