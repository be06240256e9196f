/// What a file of `tiktoken` does not say: the regular expression that cuts text, and the special tokens.
public struct TiktokenEncoding: Sendable {
  /// The regular expression whose matches are encoded one by one.
  public let pattern: String
  /// Tokens that are found in the text.
  public let specialTokens: [AddedToken]

  /// - Parameters:
  ///   - pattern: the regular expression, in the syntax of Rust's fancy-regex.
  ///   - specialTokens: texts with their numbers.
  public init(pattern: String, specialTokens: [String: Int32]) {
    self.pattern = pattern
    self.specialTokens = specialTokens.map {
      AddedToken(token: $0.value, text: $0.key, isSpecial: true)
    }
  }

  private init(_ pattern: String, _ names: [String], from first: Int32) {
    self.init(
      pattern: pattern,
      specialTokens: Dictionary(uniqueKeysWithValues: zip(names, first...)))
  }

  /// The encoding of a file by its name.
  ///
  /// - Parameters:
  ///   - name: the file's name, such as `cl100k_base.tiktoken`.
  ///   - count: how many tokens it has.
  static func known(_ name: String, count: Int) -> TiktokenEncoding? {
    let first = Int32(count)
    if name.contains("o200k") { return .o200k }
    if name.contains("cl100k") { return .cl100k }
    if name.contains("r50k") || name.contains("p50k") || name.contains("gpt2") {
      return TiktokenEncoding(gpt2Pattern, [endOfText], from: 50256)
    }
    if name.contains("qwen") { return qwen(from: first) }
    if name == "tiktoken.model" { return TiktokenEncoding(kimiPattern, [], from: first) }
    let tokensOfLlama3 = 128_000
    return name == "tokenizer.model" && count == tokensOfLlama3 ? llama3(from: first) : nil
  }

  /// The names that ``known(_:count:)`` knows.
  static let names = "o200k, cl100k, p50k, r50k, gpt2, qwen, tiktoken.model or tokenizer.model"

  // MARK: Encodings

  private static let endOfText = "<|endoftext|>"

  static let cl100k = TiktokenEncoding(
    pattern:
      #"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"#,
    specialTokens: [
      endOfText: 100257, "<|fim_prefix|>": 100258, "<|fim_middle|>": 100259,
      "<|fim_suffix|>": 100260, "<|endofprompt|>": 100276,
    ])

  static let o200k = TiktokenEncoding(
    pattern: words(upper: upper, lower: lower) + #"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|"#
      + spaces,
    specialTokens: [endOfText: 199999, "<|endofprompt|>": 200018])

  private static func qwen(from first: Int32) -> TiktokenEncoding {
    let extra = (0..<205).map { "<|extra_\($0)|>" }
    return TiktokenEncoding(
      contractions + #"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|"# + spaces,
      [endOfText, "<|im_start|>", "<|im_end|>"] + extra, from: first)
  }

  private static func llama3(from first: Int32) -> TiktokenEncoding {
    let reserved = { (numbers: Range<Int>) in numbers.map { "<|reserved_special_token_\($0)|>" } }
    return TiktokenEncoding(
      contractions + #"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"# + spaces,
      ["<|begin_of_text|>", "<|end_of_text|>"] + reserved(0..<4)
        + ["<|start_header_id|>", "<|end_header_id|>"] + reserved(4..<5) + ["<|eot_id|>"]
        + reserved(5..<251),
      from: first)
  }

  private static let gpt2Pattern = PreTokenizer.byteLevelPattern

  private static let kimiPattern =
    #"[\p{Han}]+|"#
    + words(upper: upper + #"&&[^\p{Han}]"#, lower: lower + #"&&[^\p{Han}]"#)
    + #"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"# + spaces

  private static let contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
  private static let spaces = #"\s*[\r\n]+|\s+(?!\S)|\s+"#
  /// Letters that words in capitals have, and those that others have.
  private static let upper = #"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}"#
  private static let lower = #"\p{Ll}\p{Lm}\p{Lo}\p{M}"#

  /// Words that begin anew at a capital letter after a small one.
  private static func words(upper: String, lower: String) -> String {
    #"[^\r\n\p{L}\p{N}]?[\#(upper)]*[\#(lower)]+\#(contractions)?"#
      + #"|[^\r\n\p{L}\p{N}]?[\#(upper)]+[\#(lower)]*\#(contractions)?"#
  }
}
