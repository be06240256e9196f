import AttentionTensors
import Testing

@testable import AttentionTokenizers

@Suite struct UnigramTests {
  private func model(_ tokens: [(String, Double)], unknown: Int32?) throws -> Unigram {
    let vocabulary = try Vocabulary(
      ByteStrings(tokens.map { Array($0.0.utf8) }), numbers: Array(0..<tokens.count), source: "test"
    )
    var options = Unigram.Options()
    options.unknown = unknown
    return Unigram(
      vocabulary, scores: tokens.map(\.1), lowest: tokens.map(\.1).min() ?? 0, options: options)
  }

  private func encode(_ text: String, _ model: any TokenModel) throws -> [Int32] {
    var tokens: [Int32] = []
    var scratch = ModelScratch()
    try Array(text.utf8).withUnsafeBufferPointer {
      try model.append($0, to: &tokens, &scratch)
    }
    return tokens
  }

  /// The best of all ways to cut a text, all of which are tried.
  private func best(_ text: Substring, _ tokens: [(String, Double)]) -> Double? {
    if text.isEmpty { return 0 }
    return tokens.compactMap { token, score in
      text.hasPrefix(token) ? best(text.dropFirst(token.count), tokens).map { $0 + score } : nil
    }.max()
  }

  @Test func tokensAreTheLikeliest() throws {
    var generator = Philox(seed: 9)
    for _ in 0..<200 {
      var tokens = [("a", -1.0), ("b", -1.5)]
      for _ in 0..<generator.next(below: 6) {
        let text = String(
          (0..<2 + generator.next(below: 3)).map { _ in generator.next(below: 2) == 0 ? "a" : "b" })
        if !tokens.contains(where: { $0.0 == text }) {
          tokens.append((text, -Double(generator.next(below: 400)) / 100))
        }
      }
      let model = try model(tokens, unknown: nil)
      let text = String(
        (0..<generator.next(below: 9)).map { _ in generator.next(below: 2) == 0 ? "a" : "b" })
      guard !text.isEmpty else { continue }
      let found = try encode(text, model)
      #expect(found.map { tokens[Int($0)].0 }.joined() == text)
      let score = found.reduce(0) { $0 + tokens[Int($1)].1 }
      // Sums of a few numbers in double precision.
      #expect(abs(score - (best(text[...], tokens) ?? .infinity)) < 1e-12, "\(text) \(tokens)")
    }
  }

  /// Digits are rounded before they are divided: 2⁶² + 1 over 10 is not the number nearest to that text.
  @Test func scoresAreRoundedTwice() {
    func number(_ text: String) -> Double { ScoreText.number(ArraySlice(text.utf8)) }
    for text in ["0", "-1.5", "12", "-0.001", "1e3", "2.5E-2", "1e+2", "-3.25", "1e-320"] {
      #expect(number(text) == Double(text))
    }
    var differences = 0
    for digit in 0..<100 {
      let text = "-8.1234567890123\(digit + 100)"
      let nearest = Double(text) ?? 0
      #expect(abs(number(text) - nearest) <= nearest.ulp)
      #expect(number(text) == -Double(81_234_567_890_123_000 + digit + 100) / 1e16)
      if number(text) != nearest { differences += 1 }
    }
    #expect(differences > 0)
    #expect(
      number("123456789012345678901234567890") == Double(12_345_678_901_234_567_890 as UInt64)
        * 1e10)
  }

  @Test func unknownCharactersAreOneToken() throws {
    let model = try model([("<unk>", 0), ("a", -1)], unknown: 0)
    #expect(try encode("axyza", model) == [1, 0, 1])
    #expect(try encode("漢🙂", model) == [0])
  }

  @Test func withoutUnknownTokenTheyAreAnError() throws {
    let model = try model([("a", -1)], unknown: nil)
    #expect(throws: TokenizerError.self) { try encode("ax", model) }
  }

  @Test func wordPiecesAreTheLongest() throws {
    let tokens = ["[UNK]", "un", "##aff", "##able", "##a", "##ffa", "unaff", "é", "##é"]
    let vocabulary = try Vocabulary(
      ByteStrings(tokens.map { Array($0.utf8) }), numbers: Array(0..<tokens.count), source: "test")
    let model = WordPiece(vocabulary, unknown: 0, prefix: Array("##".utf8), mostCharacters: 10)
    #expect(try encode("unaffable", model) == [6, 3])
    #expect(try encode("unaffx", model) == [0])
    #expect(try encode("éé", model) == [7, 8])
    #expect(try encode("unaaaaaaaaa", model) == [0])
    #expect(try encode("unaaaaaaaa", model) == [1, 4, 4, 4, 4, 4, 4, 4, 4])
  }

  @Test func theLongestMatchWins() throws {
    let bytes = (0...255).map { [UInt8($0)] }
    let tokens = bytes + [Array("ab".utf8), Array("abcd".utf8), Array("漢".utf8)]
    let model = LongestMatch(
      try Vocabulary(ByteStrings(tokens), numbers: Array(1...tokens.count), source: "test"))
    #expect(try encode("abcabcd", model) == [257, 100, 258])
    #expect(try encode("漢a", model) == [259, 98])
  }

  @Test func aTrieFindsEveryPrefix() {
    var generator = Philox(seed: 8)
    for _ in 0..<50 {
      let texts = Set(
        (0..<40).map { _ in
          (0..<1 + generator.next(below: 5)).map { _ in UInt8(generator.next(below: 3)) }
        }
      ).sorted { $0.lexicographicallyPrecedes($1) }
      let trie = ByteTrie(texts)
      let text = (0..<30).map { _ in UInt8(generator.next(below: 3)) }
      for place in text.indices {
        var found: [Int] = []
        text.withUnsafeBufferPointer { text in
          trie.forEachMatch(in: text, at: place) { index, _ in found.append(index) }
        }
        let expected = texts.indices.filter { text[place...].starts(with: texts[$0]) }
          .sorted { texts[$0].count < texts[$1].count }
        #expect(found == expected)
      }
    }
  }
}
