import AttentionJSON
import Testing

@testable import AttentionTokenizers

@Suite struct NormalizerTests {
  private func normalized(_ json: String, _ text: String) throws -> String {
    let value = try JSON5Parser.parse(Array(json.utf8))
    var bytes = Array(text.utf8)
    try Normalizer(JSONComponent(value, source: "test", place: "normalizer")).apply(&bytes)
    return String(decoding: bytes, as: UTF8.self)
  }

  @Test(arguments: [
    (#"{"type": "Lowercase"}"#, "ÀİΣ Ⅳ", "ài\u{307}σ ⅳ"),
    (#"{"type": "Strip"}"#, " \u{3000}a \t", "a"),
    (#"{"type": "Strip", "strip_left": false}"#, " a ", " a"),
    (#"{"type": "StripAccents"}"#, "e\u{301}a", "ea"),
    (#"{"type": "Replace", "pattern": {"String": " "}, "content": "▁"}"#, "a b c", "a▁b▁c"),
    (#"{"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}"#, "a   b c", "a b c"),
    (#"{"type": "Prepend", "prepend": "▁"}"#, "a", "▁a"),
    (#"{"type": "Prepend", "prepend": "▁"}"#, "", ""),
    (#"{"type": "ByteLevel"}"#, "é ", "Ã©Ġ"),
    (#"{"type": "Nmt"}"#, "a\u{1}b\u{200B}c", "ab c"),
    (#"{"type": "BertNormalizer"}"#, "\u{0}H\u{E9}llo\t漢字\u{AD}", "hello  漢  字 "),
    (
      #"{"type": "BertNormalizer", "lowercase": false, "handle_chinese_chars": false}"#, "HÉ漢",
      "HÉ漢"
    ),
    (
      #"{"type": "BertNormalizer", "lowercase": false, "strip_accents": true}"#, "HÉ", "HE"
    ),
    (
      #"{"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"}, {"type": "Lowercase"}]}"#,
      "ÉÀ", "ea"
    ),
    (#"{"type": "Precompiled", "precompiled_charsmap": null}"#, "a", "a"),
  ])
  func textIsRewritten(json: String, text: String, expected: String) throws {
    #expect(Array(try normalized(json, text).unicodeScalars) == Array(expected.unicodeScalars))
  }

  @Test(arguments: [
    #"{"type": "Nope"}"#, #"{"type": "Replace"}"#, #"{"type": "Prepend"}"#,
    #"{"type": "Precompiled", "precompiled_charsmap": "!"}"#,
    #"{"type": "Precompiled", "precompiled_charsmap": "AAAA"}"#,
    #"{"type": "Precompiled", "precompiled_charsmap": "/////w=="}"#,
  ])
  func whatIsUnknownIsAnError(_ json: String) {
    #expect(throws: TokenizerError.self) { try normalized(json, "a") }
  }

  /// Spaces of SentencePiece's normaliser.
  @Test func spacesAreThoseOfSentencePiece() {
    func apply(_ text: String, _ change: (inout SentencePieceNormalizer) -> Void) -> String {
      var normalizer = SentencePieceNormalizer()
      change(&normalizer)
      var bytes = Array(text.utf8)
      normalizer.apply(&bytes)
      return String(decoding: bytes, as: UTF8.self)
    }
    #expect(apply("  a  b ") { _ in } == "▁a▁b")
    #expect(apply("") { _ in } == "")
    #expect(apply("   ") { _ in } == "")
    #expect(apply(" a  b ") { $0.removesExtraSpaces = false } == "▁▁a▁▁b▁")
    #expect(apply("a b") { $0.addsPrefix = false } == "a▁b")
    #expect(apply("a b") { $0.marksSpaces = false } == " a b")
    #expect(apply("a  b") { $0.kept = ByteTrie([Array("  ".utf8)]) } == "▁a▁▁b")
  }
}
