import AttentionJSON

/// The `model` of a `tokenizer.json`. Vocabulary and merges are read as they come, without a value for each.
struct TokenizerModelJSON {
  private let source: String
  private var options: [String: JSONValue] = [:]
  private var tokens = ByteStrings()
  private var numbers: [Int] = []
  /// Of Unigram: the logarithm of each token's probability.
  private var scores: [Double] = []
  /// The two texts of each merge.
  private var merges = ByteStrings()

  init(_ parser: inout JSON5Parser, source: String) throws {
    self.source = source
    var seen: Set<String> = []
    try parser.members { parser, key in
      let name = String(decoding: key, as: UTF8.self)
      guard seen.insert(name).inserted else { throw parser.duplicate(key) }
      switch (name, try parser.nextKind()) {
      case ("vocab", UInt8(ascii: "{")): try readNumbers(&parser)
      case ("vocab", UInt8(ascii: "[")): try readScores(&parser)
      case ("merges", UInt8(ascii: "[")): try readMerges(&parser)
      default: options[name] = try parser.value()
      }
    }
  }

  /// `{"token": 0, …}`
  private mutating func readNumbers(_ parser: inout JSON5Parser) throws {
    try parser.members { parser, key in
      tokens.append(key)
      numbers.append(try parser.integer())
    }
  }

  /// `[["token", -1.5], …]`
  private mutating func readScores(_ parser: inout JSON5Parser) throws {
    try parser.elements { parser in
      var isText = true
      try parser.elements { parser in
        if isText {
          tokens.append(try parser.string())
        } else {
          scores.append(ScoreText.number(try parser.numberText()))
        }
        isText = false
      }
      guard scores.count == tokens.count else {
        throw parser.failure("a token with its score must be here")
      }
      numbers.append(numbers.count)
    }
  }

  /// `["a b", …]` or `[["a", "b"], …]`
  private mutating func readMerges(_ parser: inout JSON5Parser) throws {
    try parser.elements { parser in
      let before = merges.count
      if try parser.nextKind() == UInt8(ascii: "[") {
        try parser.elements { merges.append(try $0.string()) }
      } else {
        let text = try parser.string()
        for part in text.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false) {
          merges.append(part)
        }
      }
      guard merges.count == before + 2 else {
        throw parser.failure("a merge of two tokens must be here")
      }
    }
  }

  // MARK: Models

  /// The model.
  ///
  /// - Parameter isCut: whether text comes to it in pieces.
  func model(isCut: Bool) throws -> any TokenModel {
    let component = try JSONComponent(.object(options), source: source, place: "model")
    let kind = try component.string("type", default: scores.isEmpty ? "BPE" : "Unigram")
    switch kind {
    case "BPE": return try bytePairEncoding(component, isCut: isCut)
    case "Unigram": return try unigram(component)
    case "WordPiece":
      let vocabulary = try vocabulary()
      guard let unknown = try token("unk_token", component, vocabulary) else {
        throw component.invalid("unk_token", mustBe: "a token of the vocabulary")
      }
      return WordPiece(
        vocabulary, unknown: unknown,
        prefix: try component.utf8("continuing_subword_prefix", default: "##"),
        mostCharacters: try component.integer("max_input_chars_per_word", default: 100))
    case "WordLevel":
      let vocabulary = try vocabulary()
      return WordLevel(
        vocabulary: vocabulary,
        unknown: vocabulary.number(of: try component.utf8("unk_token", default: "<unk>")))
    case let kind: throw component.unsupported("the model \(kind)")
    }
  }

  private func vocabulary() throws -> Vocabulary {
    try Vocabulary(tokens, numbers: numbers, source: source)
  }

  /// The number of the token that `key` names; nil if it is absent.
  private func token(
    _ key: String, _ component: JSONComponent, _ vocabulary: Vocabulary
  ) throws -> Int32? {
    guard component[key] != nil else { return nil }
    guard let token = vocabulary.number(of: try component.utf8(key)) else {
      throw component.invalid(key, mustBe: "a token of the vocabulary")
    }
    return token
  }

  private func unigram(_ component: JSONComponent) throws -> Unigram {
    guard scores.count == tokens.count else {
      throw component.unsupported("Unigram without scores")
    }
    if let score = scores.first(where: { !$0.isFinite }) {
      throw TokenizerError.invalidValue(
        source: source, place: "model.vocab", was: "with the score \(score)",
        mustBe: "of finite scores")
    }
    let vocabulary = try vocabulary()
    var options = Unigram.Options()
    if component["unk_id"] != nil {
      options.unknown = Int32(try component.integer("unk_id", in: 0..<scores.count))
    }
    options.fallsBackToBytes = try component.bool("byte_fallback", default: false)
    return Unigram(vocabulary, scores: scores, lowest: scores.min() ?? 0, options: options)
  }

  private func bytePairEncoding(_ component: JSONComponent, isCut: Bool) throws -> BytePairEncoding
  {
    switch component["dropout"] {
    case nil, .integer(0), .number(0): break
    default: throw component.unsupported("a dropout other than 0")
    }
    let vocabulary = try vocabulary()
    var options = BytePairEncoding.Options()
    options.unknown = try token("unk_token", component, vocabulary)
    options.fusesUnknown = try component.bool("fuse_unk", default: false)
    options.fallsBackToBytes = try component.bool("byte_fallback", default: false)
    options.ignoresMerges = try component.bool("ignore_merges", default: false)
    options.continuingPrefix = try component.utf8("continuing_subword_prefix", default: "")
    options.endSuffix = try component.utf8("end_of_word_suffix", default: "")
    return BytePairEncoding(
      vocabulary, merges: try mergeTable(vocabulary, prefix: options.continuingPrefix.count),
      options: options, wordMark: isCut ? nil : Array("▁".utf8))
  }

  /// - Parameter prefix: how many bytes of the second token are left out when it is merged.
  private func mergeTable(_ vocabulary: Vocabulary, prefix: Int) throws -> MergeTable {
    var table = MergeTable(capacity: merges.count / 2)
    var merged: [UInt8] = []
    for rank in 0..<merges.count / 2 {
      let (left, right) = (merges[2 * rank], merges[2 * rank + 1])
      merged.removeAll(keepingCapacity: true)
      merged += left
      merged += right.dropFirst(prefix)
      guard let leftToken = vocabulary.number(of: Array(left)),
        let rightToken = vocabulary.number(of: Array(right)),
        let token = vocabulary.number(of: merged)
      else {
        throw TokenizerError.invalidValue(
          source: source, place: "model.merges[\(rank)]",
          was: "\(merges.text(2 * rank)) and \(merges.text(2 * rank + 1))",
          mustBe: "of tokens of the vocabulary, which also has them joined")
      }
      table.insert(leftToken, rightToken, MergeTable.Merge(rank: UInt32(rank), symbol: token))
    }
    return table
  }
}
