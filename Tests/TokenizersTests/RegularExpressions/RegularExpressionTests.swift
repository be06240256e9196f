import AttentionTensors
import Testing

@testable import AttentionTokenizers

/// The matches of an expression in a text.
func matches(
  _ pattern: String, _ text: String, dialect: RegularExpressionDialect = .oniguruma
) throws -> [String] {
  let expression = try RegularExpression(pattern, dialect: dialect)
  let bytes = Array(text.utf8)
  var bounds: [UInt32] = []
  try bytes.withUnsafeBufferPointer { try expression.appendMatches(in: $0, to: &bounds) }
  return stride(from: 0, to: bounds.count, by: 2).map {
    String(decoding: bytes[Int(bounds[$0])..<Int(bounds[$0 + 1])], as: UTF8.self)
  }
}

@Suite struct RegularExpressionTests {
  struct Case: Sendable, CustomTestStringConvertible {
    let pattern: String
    let text: String
    let expected: [String]

    init(_ pattern: String, _ text: String, _ expected: [String]) {
      self.pattern = pattern
      self.text = text
      self.expected = expected
    }

    var testDescription: String { "\(pattern) in \(text)" }
  }

  @Test(arguments: [
    Case("a", "banana", ["a", "a", "a"]),
    Case("a|ab|abc", "abc", ["a"]),
    Case("abc|ab|a", "abcaba", ["abc", "ab", "a"]),
    Case("a*", "baac", ["", "aa", ""]),
    Case("a+?", "aa", ["a", "a"]),
    Case("a{2,3}", "aaaaa", ["aaa", "aa"]),
    Case("a{2}", "aaaaa", ["aa", "aa"]),
    Case("a{,2}b", "aaab", ["aab"]),
    Case("a{x", "a{x", ["a{x"]),
    Case("(?:ab)+", "ababab", ["ababab"]),
    Case("(ab|a)(c|bcd)", "abcd", ["abc"]),
    Case("a*ab", "aaab", ["aaab"]),
    Case("a*+ab", "aaab", []),
    Case("(?>a*)ab", "aaab", []),
    Case(".*?c", "abcabc", ["abc", "abc"]),
    Case("[^\\s\\p{L}]+", "a1-é 2", ["1-", "2"]),
    Case("[a-c&&[^b]]+", "abc", ["a", "c"]),
    Case("[]a]+", "]a[", ["]a"]),
    Case("[a\\-z]+", "a-z b", ["a-z"]),
    Case("[-a]+", "-a", ["-a"]),
    Case("\\s+(?!\\S)", "a   b  ", ["  ", "  "]),
    Case("\\w+(?=:)", "ab:c", ["ab"]),
    Case("(?i:'s|ll)", "'S 'ſ LL", ["'S", "'ſ", "LL"]),
    Case("(?i)straße", "STRAßE", ["STRAßE"]),
    Case("a(?i)b|c", "aBaC", ["aB", "aC"]),
    Case("\\bcat\\b", "cat concat", ["cat"]),
    Case("^a", "a\nab", ["a", "a"]),
    Case("a$", "a\nba", ["a", "a"]),
    Case("\\Aa", "a\na", ["a"]),
    Case("\\p{Han}+", "ab漢字か", ["漢字"]),
    Case("\\P{L}+", "a12b", ["12"]),
    Case("\\p{^L}+", "a12b", ["12"]),
    Case("\\x41\\x{1F642}\\u00e9", "A🙂é", ["A🙂é"]),
    Case("[\\r\\n]+", "a\r\n\nb", ["\r\n\n"]),
    Case("é", "e\u{301}é", ["é"]),
    Case("(?<word>a)", "a", ["a"]),
    Case("", "ab", ["", "", ""]),
  ])
  func matchesAreThoseOfTheLanguage(_ test: Case) throws {
    let found = try matches(test.pattern, test.text)
    #expect(found.map { Array($0.utf8) } == test.expected.map { Array($0.utf8) }, "\(found)")
  }

  @Test func dialectsDiffer() throws {
    #expect(try matches("^a", "a\na", dialect: .rust) == ["a"])
    #expect(try matches("a{1,2}+a", "aaa", dialect: .rust) == ["aaa"])
    #expect(try matches("a{1,2}+a", "aa", dialect: .rust) == [])
    #expect(try matches("a{1,2}+a", "aa", dialect: .oniguruma) == ["aa"])
    #expect(try matches("\\w", "²\u{200D}", dialect: .rust) == ["\u{200D}"])
    #expect(try matches("\\w", "²\u{200D}", dialect: .oniguruma) == ["²"])
  }

  @Test(arguments: [
    "(", ")", "a)", "[", "[a", "*a", "a{3,2}", "a{9999}", "\\", "\\p{Nope}", "(?<=a)b", "(a)\\1",
    "[[:alpha:]]", "(?x:a)", "(a*)*", "[b-a]", "\\q", "(?", "(?:", "\\x{110000}", "\\u12",
  ])
  func whatIsNotSupportedIsAnError(_ pattern: String) {
    #expect(throws: TokenizerError.self) { try matches(pattern, "a") }
  }

  @Test func deepNestingIsAnError() {
    let depth = 100_000
    let groups = String(repeating: "(", count: depth) + String(repeating: ")", count: depth)
    #expect(throws: TokenizerError.self) { try matches(groups, "a") }
    let classes = String(repeating: "[", count: depth) + "a" + String(repeating: "]", count: depth)
    #expect(throws: TokenizerError.self) { try matches(classes, "a") }
    let quantifiers = "a" + String(repeating: "+", count: depth)
    #expect(throws: TokenizerError.self) { try matches(quantifiers, "a") }
    let copies = String(repeating: "(?:", count: 20) + "ab" + String(repeating: "){100}", count: 20)
    #expect(throws: TokenizerError.self) { try matches(copies, "a") }
  }

  @Test func runningAwayIsAnError() {
    let text = String(repeating: "a", count: 40)
    #expect {
      try matches("(?:a|a)+(?:a|a)+b", text)
    } throws: { error in
      guard case TokenizerError.tooManySteps = error else { return false }
      return true
    }
  }

  @Test func longRunsTakeLinearTime() throws {
    let pattern = BytePairTrainer.defaultPattern
    for unit in [" ", "a", "A", "1", "\n", "-", "é", "漢", " \n"] {
      let text = String(repeating: unit, count: 100_000)
      #expect(try matches(pattern, text).joined() == text)
    }
  }

  /// Random expressions against the engine of Swift's standard library.
  @Test func randomExpressionsMatchAsSwiftsOwn() throws {
    var generator = Philox(seed: 7)
    func node(_ depth: Int) -> String {
      switch generator.next(below: depth > 0 ? 9 : 4) {
      case 0: return "a"
      case 1: return "[ab]"
      case 2: return "[^b]"
      case 3: return "c"
      case 4: return node(depth - 1) + node(depth - 1)
      case 5: return "(?:" + node(depth - 1) + "|" + node(depth - 1) + ")"
      case 6:
        return "(?:" + node(depth - 1) + "x)"
          + ["*", "+", "?", "*?", "{1,2}"][generator.next(below: 5)]
      case 7:
        return ["a", "[ab]", "[^c]"][generator.next(below: 3)]
          + ["*", "+", "?", "+?", "{2}"][generator.next(below: 5)]
      default:
        return (generator.next(below: 2) == 0 ? "(?=" : "(?!") + node(depth - 1) + ")"
          + node(depth - 1)
      }
    }
    for _ in 0..<100 {
      let pattern = node(3)
      let peer = try Regex(pattern).matchingSemantics(.unicodeScalar)
      for _ in 0..<8 {
        let text = String(
          (0..<generator.next(below: 12)).map { _ in
            "abcx"["abcx".index("abcx".startIndex, offsetBy: generator.next(below: 4))]
          })
        let expected = text.matches(of: peer).map { String(text[$0.range]) }.filter { !$0.isEmpty }
        let found = try matches(pattern, text).filter { !$0.isEmpty }
        #expect(found == expected, "\(pattern) in \(text)")
      }
    }
  }
}
