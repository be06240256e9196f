import AttentionJSON
import Testing

@testable import AttentionTokenizers

@Suite struct PreTokenizerTests {
  private func pieces(_ json: String, _ text: String) throws -> [String] {
    let value = try JSON5Parser.parse(Array(json.utf8))
    let preTokenizer = try PreTokenizer(
      JSONComponent(value, source: "test", place: "pre_tokenizer"))
    var pieces = Pieces(Array(text.utf8), startsText: true)
    try preTokenizer.apply(&pieces)
    return stride(from: 0, to: pieces.bounds.count, by: 2).map {
      String(
        decoding: pieces.text[Int(pieces.bounds[$0])..<Int(pieces.bounds[$0 + 1])], as: UTF8.self)
    }
  }

  /// The example of Hugging Face's documentation, and its inversion.
  @Test(arguments: [
    ("Removed", ["the", "final", "countdown"], ["-", "-", "-"]),
    (
      "Isolated", ["the", "-", "final", "-", "-", "countdown"],
      ["the", "-", "final", "-", "-", "countdown"]
    ),
    (
      "MergedWithPrevious", ["the-", "final-", "-", "countdown"],
      ["the", "-final", "-", "-countdown"]
    ),
    (
      "MergedWithNext", ["the", "-final", "-", "-countdown"], ["the-", "final-", "-", "countdown"]
    ),
    (
      "Contiguous", ["the", "-", "final", "--", "countdown"],
      ["the", "-", "final", "--", "countdown"]
    ),
  ])
  func matchesGoWhereTheBehaviorSays(
    behavior: String, expected: [String], inverted: [String]
  ) throws {
    for (invert, expected) in [(false, expected), (true, inverted)] {
      for pattern in [#"{"String": "-"}"#, #"{"Regex": "-"}"#] {
        let json = """
          {"type": "Split", "pattern": \(pattern), "behavior": "\(behavior)", "invert": \(invert)}
          """
        // Of inverted matches, what lies between them is one match each.
        #expect(try pieces(json, "the-final--countdown") == expected, "\(json)")
      }
    }
  }

  @Test(arguments: [
    (#"{"type": "Whitespace"}"#, "Hey man! é_1", ["Hey", "man", "!", "é_1"]),
    (#"{"type": "WhitespaceSplit"}"#, " a\u{A0}b!  c", ["a", "b!", "c"]),
    (#"{"type": "Punctuation"}"#, "a,b!?", ["a", ",", "b", "!", "?"]),
    (#"{"type": "Punctuation", "behavior": "Contiguous"}"#, "a!?", ["a", "!?"]),
    (#"{"type": "Digits"}"#, "a12b", ["a", "12", "b"]),
    (#"{"type": "Digits", "individual_digits": true}"#, "a12²", ["a", "1", "2", "²"]),
    (#"{"type": "BertPreTokenizer"}"#, "don't  stop", ["don", "'", "t", "stop"]),
    (#"{"type": "CharDelimiterSplit", "delimiter": "x"}"#, "axbxx", ["a", "b"]),
    (#"{"type": "Metaspace"}"#, "a b  c", ["▁a", "▁b", "▁", "▁c"]),
    (#"{"type": "Metaspace", "prepend_scheme": "never"}"#, "a b", ["a", "▁b"]),
    (#"{"type": "Metaspace", "prepend_scheme": "first", "split": false}"#, "a b", ["▁a▁b"]),
    (#"{"type": "Metaspace"}"#, " a", ["▁a"]),
    (#"{"type": "ByteLevel"}"#, "é b", ["ĠÃ©", "Ġb"]),
    (#"{"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}"#, "a b\n", ["aĠbĊ"]),
    (#"{"type": "UnicodeScripts"}"#, "カタ漢 a.b", ["カタ漢 ", "a", ".", "b"]),
    (
      #"{"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Metaspace", "prepend_scheme": "first"}]}"#,
      " a b", ["a", "b"]
    ),
    (#"{"type": "Whitespace"}"#, "", []),
  ])
  func piecesAreThoseOfTheDocumentation(json: String, text: String, expected: [String]) throws {
    #expect(try pieces(json, text) == expected)
  }

  @Test(arguments: [
    #"{"type": "Nope"}"#, #"{}"#, #"{"type": 3}"#, #"{"type": "Split"}"#, #"[]"#,
    #"{"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated"}"#,
    #"{"type": "Split", "pattern": {"String": "a"}, "behavior": "Sideways"}"#,
    #"{"type": "Metaspace", "prepend_scheme": "last"}"#,
    #"{"type": "Metaspace", "replacement": ""}"#,
    #"{"type": "Sequence"}"#,
  ])
  func whatIsUnknownIsAnError(_ json: String) {
    #expect(throws: TokenizerError.self) { try pieces(json, "a") }
  }
}
