/// Makes a byte-level byte pair encoding of text (Sennrich et al. 2016).
///
/// The pair that is most frequent in the words of the text is merged, again and again; of equally frequent pairs the one
/// whose tokens have the lowest numbers. So the same text gives the same tokenizer, whatever the machine.
///
///     var trainer = try BytePairTrainer(vocabularySize: 8000, specialTokens: ["<|endoftext|>"])
///     try trainer.add("the text")
///     let file = trainer.tokenizerJSON()
public struct BytePairTrainer {
  /// The expression that cuts text into words unless another is given: letters with what is before them, up to three
  /// digits, marks, spaces.
  public static let defaultPattern =
    #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"#
    + #"|\s*[\r\n]+|\s+(?!\S)|\s+"#

  private static let byteCount = 256

  private let vocabularySize: Int
  private let minimumFrequency: Int
  private let specialTokens: [String]
  private let pattern: String
  private let expression: RegularExpression
  private var counter = PieceCounter()

  /// - Parameters:
  ///   - vocabularySize: how many tokens there are at most, special ones and the 256 bytes included.
  ///   - minimumFrequency: how often a pair must occur to be merged.
  ///   - specialTokens: the first tokens, which no text is encoded as.
  ///   - pattern: the regular expression that cuts text into words.
  /// - Throws: ``TokenizerError``.
  public init(
    vocabularySize: Int, minimumFrequency: Int = 2, specialTokens: [String] = [],
    pattern: String = defaultPattern
  ) throws {
    let least = Self.byteCount + specialTokens.count
    guard (least...Vocabulary.mostTokens).contains(vocabularySize) else {
      throw TokenizerError.invalidArgument(
        "vocabularySize", was: "\(vocabularySize)", mustBe: "in \(least)...\(Vocabulary.mostTokens)"
      )
    }
    guard minimumFrequency > 0 else {
      throw TokenizerError.invalidArgument(
        "minimumFrequency", was: "\(minimumFrequency)", mustBe: "at least 1")
    }
    let isUnique = Set(specialTokens.map { Array($0.utf8) }).count == specialTokens.count
    guard isUnique, !specialTokens.contains(""), specialTokens.allSatisfy({ $0.utf8.count > 1 })
    else {
      throw TokenizerError.invalidArgument(
        "specialTokens", was: "\(specialTokens)", mustBe: "different texts of at least two bytes")
    }
    self.vocabularySize = vocabularySize
    self.minimumFrequency = minimumFrequency
    self.specialTokens = specialTokens
    self.pattern = pattern
    expression = try RegularExpression(pattern, dialect: .oniguruma)
  }

  /// Counts the words of `text`.
  ///
  /// - Throws: ``TokenizerError``.
  public mutating func add(_ text: String) throws { try add(utf8: Array(text.utf8)) }

  /// Counts the words of a text in UTF-8.
  ///
  /// - Throws: ``TokenizerError``.
  public mutating func add(utf8 text: [UInt8]) throws {
    guard String(validating: text, as: UTF8.self) != nil, text.count <= Pieces.mostBytes else {
      throw TokenizerError.invalidArgument(
        "text", was: "not UTF-8, or \(text.count) bytes long",
        mustBe: "UTF-8 of at most \(Pieces.mostBytes) bytes")
    }
    var pieces = Pieces(text, startsText: true)
    try Splitter.pattern(expression).split(&pieces, .isolated)
    try pieces.forEach { (piece) throws(TokenizerError) in try counter.add(piece) }
  }

  /// The `tokenizer.json` of the text so far, for ``TextTokenizer`` and Hugging Face's `tokenizers`.
  public func tokenizerJSON() -> [UInt8] {
    let bytes = ByteAlphabet.scalars.enumerated().sorted { $0.element < $1.element }
    var tokens = specialTokens + bytes.map { String(Character($0.element)) }
    var tokenOfByte = [Int32](repeating: 0, count: Self.byteCount)
    for (place, byte) in bytes.enumerated() {
      tokenOfByte[byte.offset] = Int32(specialTokens.count + place)
    }
    var learner = MergeLearner(
      counter, tokenOfByte: tokenOfByte, firstToken: Int32(tokens.count),
      minimumFrequency: minimumFrequency)
    var merges: [String] = []
    while tokens.count < vocabularySize, let merge = learner.next() {
      let (left, right) = (tokens[Int(merge.left)], tokens[Int(merge.right)])
      tokens.append(left + right)
      merges.append("[\(JSONText.quoted(left)), \(JSONText.quoted(right))]")
    }
    return Array(json(tokens: tokens, merges: merges).utf8)
  }

  private func json(tokens: [String], merges: [String]) -> String {
    let added = specialTokens.enumerated().map { number, text in
      """
      {"id": \(number), "content": \(JSONText.quoted(text)), "single_word": false, "lstrip": false, \
      "rstrip": false, "normalized": false, "special": true}
      """
    }
    let vocabulary = tokens.enumerated().map { "\(JSONText.quoted($1)): \($0)" }
    let byteLevel = { (splits: Bool) in
      """
      {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": \(splits)}
      """
    }
    return """
      {
      "version": "1.0",
      "truncation": null,
      "padding": null,
      "added_tokens": [\(added.joined(separator: ",\n"))],
      "normalizer": null,
      "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
      {"type": "Split", "pattern": {"Regex": \(JSONText.quoted(pattern))}, "behavior": "Isolated", "invert": false},
      \(byteLevel(false))]},
      "post_processor": null,
      "decoder": \(byteLevel(true)),
      "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
      "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
      "vocab": {\(vocabulary.joined(separator: ",\n"))},
      "merges": [\(merges.joined(separator: ",\n"))]}
      }

      """
  }
}
