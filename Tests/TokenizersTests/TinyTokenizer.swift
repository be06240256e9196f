@testable import AttentionTokenizers

/// Small tokenizers, as files.
enum TinyTokenizer {
  /// Byte-level, with the merges `a b`, `ab a` and `Ġ a`, and a special token.
  static let byteLevel: String = {
    let alphabet = ByteAlphabet.scalars.map { String(Character($0)) }
    let tokens = alphabet + ["ab", "aba", "Ġa", "<|end|>"]
    let vocabulary = tokens.enumerated().map { "\(JSONText.quoted($1)): \($0)" }
    return """
      {"added_tokens": [{"id": 259, "content": "<|end|>", "special": true}],
       "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
       "decoder": {"type": "ByteLevel"},
       "model": {"type": "BPE", "vocab": {\(vocabulary.joined(separator: ","))},
                 "merges": ["a b", ["ab", "a"], "Ġ a"]}}
      """
  }()

  /// Opens the text of a `tokenizer.json`.
  static func open(_ json: String) throws -> TextTokenizer {
    try TextTokenizer(TokenizerJSON.read(Array(json.utf8), source: "tokenizer.json"))
  }

  /// A tokenizer of whole words, each of them a token, with the parts that a test is about.
  static func words(_ words: [String], _ parts: String = "") throws -> TextTokenizer {
    let vocabulary = (["<unk>"] + words).enumerated().map { "\(JSONText.quoted($1)): \($0)" }
    return try open(
      """
      {\(parts.isEmpty ? "" : parts + ",") "model": {"type": "WordLevel", "unk_token": "<unk>",
       "vocab": {\(vocabulary.joined(separator: ","))}}}
      """)
  }
}
