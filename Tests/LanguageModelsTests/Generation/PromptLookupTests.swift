import AttentionTensors
import Testing

@testable import AttentionLanguageModels

@Suite struct PromptLookupTests {
  @Test func theLatestPlaceWithTheMostEqualTokensCounts() {
    func guess(_ text: [Int32], _ count: Int = 3) -> [Int32] {
      PromptLookup.guess(after: text, count: count)
    }
    #expect(guess([1, 2, 3, 4, 5, 1, 2, 3]) == [4, 5, 1])
    // Of two places with three equal tokens, the later; three rather than a later two.
    #expect(guess([1, 2, 3, 7, 1, 2, 3, 8, 1, 2, 3]) == [8, 1, 2])
    #expect(guess([1, 2, 3, 7, 9, 2, 3, 8, 1, 2, 3]) == [7, 9, 2])
    #expect(guess([2, 3, 8, 9, 2, 3]) == [8, 9, 2])
    #expect(guess([5, 5, 5, 5]) == [5])
    #expect(guess([1, 2, 3, 4]) == [])
    #expect(guess([1, 2, 1, 2], 0) == [])
    #expect(guess([]) == [])
  }

  /// Guesses change nothing: not the tokens, greedy or drawn, nor the state after them.
  @Test(arguments: ModelCase.all) func tokensAreThoseWithoutGuesses(_ test: ModelCase) throws {
    let model = try test.model()
    let prompt: [Int32] = [1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6, 1, 2]
    var guesses = 0
    for temperature in [0, 0.3, 1] {
      for seed in UInt64(0)..<2 {
        var options = GenerationOptions(maximumTokens: 24)
        options.temperature = temperature
        options.seed = seed
        var plain = try TokenGenerator(model, prompt: prompt, options: options)
        var expected: [Int32] = []
        while let token = try plain.next() { expected.append(token) }
        options.guessLength = 4
        var guessing = try TokenGenerator(model, prompt: prompt, options: options)
        var tokens: [Int32] = []
        while let token = try guessing.next() { tokens.append(token) }
        #expect(tokens == expected, "\(test.name), temperature \(temperature), seed \(seed)")
        #expect(guessing.rightGuessCount <= guessing.guessCount)
        guesses += guessing.guessCount
        let (first, second) = try (plain.state(), guessing.state())
        #expect(first.logits.map(\.bitPattern) == second.logits.map(\.bitPattern))
      }
    }
    #expect(guesses > 0)
  }

  @Test func aNegativeNumberOfGuessesIsRefused() throws {
    var options = GenerationOptions()
    options.guessLength = -1
    #expect(throws: GenerationError.self) { try options.validate() }
  }
}
