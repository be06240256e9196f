import AttentionTensors
import Testing

@testable import AttentionTokenizers

@Suite struct BytePairTrainerTests {
  private func trained(_ text: String, _ size: Int, _ frequency: Int = 1) throws -> TextTokenizer {
    var trainer = try BytePairTrainer(
      vocabularySize: size, minimumFrequency: frequency, specialTokens: ["<|end|>"])
    try trainer.add(text)
    return try TextTokenizer(TokenizerJSON.read(trainer.tokenizerJSON(), source: "trained"))
  }

  /// The classic example: ab (4 times), then abc (3).
  @Test func theMostFrequentPairMergesFirst() throws {
    let tokenizer = try trained("abc abc ab xabc", 259)
    #expect(tokenizer.vocabularySize == 259)
    #expect(tokenizer.token("ab") == 257)
    #expect(tokenizer.token("abc") == 258)
    #expect(try tokenizer.encode("abc<|end|>") == [258, 0])
  }

  @Test func rarePairsStayApart() throws {
    #expect(try trained("ab cd", 300, 2).vocabularySize == 257)
    #expect(try trained("", 300).vocabularySize == 257)
  }

  /// Pairs are counted anew for every merge.
  @Test func mergesAreThoseOfTheDefinition() throws {
    var generator = Philox(seed: 12)
    for _ in 0..<40 {
      let words = (0..<12).map { _ in
        String((0..<1 + generator.next(below: 7)).map { _ in "abc".randomElement(&generator) })
      }
      let text = words.joined(separator: "\n")
      let tokenizer = try trained(text, 275)
      var pieces = try matches(BytePairTrainer.defaultPattern, text).map { $0.map { String($0) } }
        .map { $0.map { $0 == "\n" ? "Ċ" : $0 } }
      let order = { (token: String) in Int(tokenizer.token(token) ?? -1) }
      for merge in 257..<tokenizer.vocabularySize {
        var counts: [[String]: Int] = [:]
        for piece in pieces {
          for pair in zip(piece, piece.dropFirst()) { counts[[pair.0, pair.1], default: 0] += 1 }
        }
        let best = try #require(
          counts.max {
            if $0.value != $1.value { return $0.value < $1.value }
            return order($0.key[0]) != order($1.key[0])
              ? order($0.key[0]) > order($1.key[0]) : order($0.key[1]) > order($1.key[1])
          })
        #expect(order(best.key.joined()) == merge, "\(text)")
        pieces = pieces.map { piece in
          var result: [String] = []
          for token in piece {
            // The last of the result may itself be a merge: these do not overlap.
            if result.last == best.key[0], token == best.key[1] {
              result[result.count - 1] = best.key.joined()
            } else {
              result.append(token)
            }
          }
          return result
        }
      }
    }
  }

  @Test func theSameTextGivesTheSameFile() throws {
    let text = String(repeating: "the quick brown fox, 12345 é漢\n", count: 50)
    func file() throws -> [UInt8] {
      var trainer = try BytePairTrainer(vocabularySize: 400)
      try trainer.add(text)
      return trainer.tokenizerJSON()
    }
    #expect(try file() == file())
    let tokenizer = try TextTokenizer(TokenizerJSON.read(file(), source: "trained"))
    #expect(tokenizer.decode(try tokenizer.encode(text)) == text)
  }

  @Test func impossibleSettingsAreErrors() {
    #expect(throws: TokenizerError.self) { try BytePairTrainer(vocabularySize: 255) }
    #expect(throws: TokenizerError.self) { try BytePairTrainer(vocabularySize: 1 << 40) }
    #expect(throws: TokenizerError.self) {
      try BytePairTrainer(vocabularySize: 300, minimumFrequency: 0)
    }
    #expect(throws: TokenizerError.self) {
      try BytePairTrainer(vocabularySize: 300, specialTokens: ["<a>", "<a>"])
    }
    #expect(throws: TokenizerError.self) { try BytePairTrainer(vocabularySize: 300, pattern: "(") }
  }
}

extension String {
  fileprivate func randomElement(_ generator: inout Philox) -> Character {
    self[index(startIndex, offsetBy: generator.next(below: count))]
  }
}
