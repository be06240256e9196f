import Synchronization

/// A tokenizer of a published model: added tokens, normalisation, cutting into pieces, the model, and the way back.
///
/// ``init(path:)`` opens the files that models are published with. Encoding gives the tokens of the library that the
/// file is for: Hugging Face's `tokenizers`, `tiktoken`, SentencePiece or RWKV's.
///
/// Many threads may use it at once.
public final class TextTokenizer: Tokenizer {
  /// What an encoder does besides encoding.
  public struct EncodingOptions: Sendable {
    /// Whether the tokens that mark beginning and end are put around the text.
    public var marksEnds = false
    /// Whether special tokens are looked for in the text. Text of strangers should not contain any.
    public var findsSpecialTokens = true

    public init(marksEnds: Bool = false, findsSpecialTokens: Bool = true) {
      self.marksEnds = marksEnds
      self.findsSpecialTokens = findsSpecialTokens
    }
  }

  /// What makes up a tokenizer.
  struct Parts: Sendable {
    var model: any TokenModel
    var addedTokens: [AddedToken] = []
    var normalizer: Normalizer?
    var preTokenizer: PreTokenizer?
    var postProcessor = PostProcessor()
    var decoder: [any DecoderStage] = [SpacingDecoder()]
    /// What tokens are decoded as in place of their text.
    var decodedTexts: [Int32: String] = [:]
  }

  /// Tokens that are found in the text, sorted by number.
  public let addedTokens: [AddedToken]
  public let vocabularySize: Int

  private let parts: Parts
  private let rawTokens: AddedTokenFinder
  private let normalizedTokens: AddedTokenFinder
  private let added: [Int32: AddedToken]
  private let scratches = Mutex<[ScratchBox]>([])

  /// Passes memory from thread to thread; one at a time has it.
  private struct ScratchBox: @unchecked Sendable {
    var scratch = ModelScratch()
  }

  init(_ parts: Parts) throws {
    self.parts = parts
    addedTokens = parts.addedTokens.sorted { $0.token < $1.token }
    added = Dictionary(addedTokens.map { ($0.token, $0) }) { $1 }
    let raw = parts.addedTokens.filter { $0.search == .text }
    rawTokens = AddedTokenFinder(raw, texts: raw.map { Array($0.text.utf8) })
    let normalized = parts.addedTokens.filter {
      $0.search == .normalizedText || $0.search == .normalizedTextAsWritten
    }
    normalizedTokens = AddedTokenFinder(
      normalized,
      texts: try normalized.map { token in
        var text = Array(token.text.utf8)
        if token.search == .normalizedText { try parts.normalizer?.apply(&text) }
        return text
      })
    vocabularySize = max(
      parts.model.vocabularySize, (addedTokens.last?.token).map { Int($0) + 1 } ?? 0)
  }

  // MARK: Encoding

  /// The tokens of `text`; special tokens in it are found.
  public func encode(_ text: String) throws -> [Int32] {
    try encode(text, options: EncodingOptions())
  }

  /// The tokens of `text`.
  ///
  /// - Throws: ``TokenizerError/invalidArgument(_:was:mustBe:)`` for more than 1 GiB of text,
  ///   ``TokenizerError/tooManySteps(pattern:limit:)`` if the regular expression of the file runs away.
  public func encode(_ text: String, options: EncodingOptions) throws -> [Int32] {
    try encode(utf8: Array(text.utf8), options: options)
  }

  /// The tokens of a text in UTF-8.
  ///
  /// - Throws: as ``encode(_:options:)``, and for bytes that are not UTF-8.
  public func encode(
    utf8 text: [UInt8], options: EncodingOptions = EncodingOptions()
  ) throws -> [Int32] {
    guard text.count <= Pieces.mostBytes else {
      throw TokenizerError.invalidArgument(
        "text", was: "\(text.count) bytes long", mustBe: "at most \(Pieces.mostBytes) bytes long")
    }
    guard String(validating: text, as: UTF8.self) != nil else {
      throw TokenizerError.invalidArgument("text", was: "not UTF-8", mustBe: "UTF-8")
    }
    var box = scratches.withLock { $0.popLast() } ?? ScratchBox()
    defer { scratches.withLock { $0.append(box) } }
    var tokens: [Int32] = options.marksEnds ? parts.postProcessor.prefix : []
    tokens.reserveCapacity(text.count / 3 + 8)
    try rawTokens.forEachPart(of: text, findsSpecial: options.findsSpecialTokens) {
      (range, token) throws(TokenizerError) in
      if let token { return tokens.append(token.token) }
      try encode(part: Array(text[range]), range.lowerBound == 0, options, &tokens, &box.scratch)
    }
    if options.marksEnds { tokens += parts.postProcessor.suffix }
    return tokens
  }

  /// Appends the tokens of a part without added tokens that are not normalised.
  private func encode(
    part: [UInt8], _ startsText: Bool, _ options: EncodingOptions, _ tokens: inout [Int32],
    _ scratch: inout ModelScratch
  ) throws(TokenizerError) {
    var text = part
    try parts.normalizer?.apply(&text)
    try normalizedTokens.forEachPart(of: text, findsSpecial: options.findsSpecialTokens) {
      (range, token) throws(TokenizerError) in
      if let token { return tokens.append(token.token) }
      let isWhole = range.lowerBound == 0 && range.upperBound == text.count
      var pieces = Pieces(
        isWhole ? text : Array(text[range]), startsText: startsText && range.lowerBound == 0)
      try parts.preTokenizer?.apply(&pieces)
      try pieces.forEach { (piece) throws(TokenizerError) in
        if !piece.isEmpty { try parts.model.append(piece, to: &tokens, &scratch) }
      }
    }
  }

  // MARK: Decoding

  public func decoder() -> any TokenDecoder { decoder(skipsSpecialTokens: false) }

  /// A decoder of a new text.
  ///
  /// - Parameter skipsSpecialTokens: whether special tokens give no text.
  public func decoder(skipsSpecialTokens: Bool) -> any TokenDecoder {
    TextDecoder(tokenizer: self, stages: parts.decoder, skipsSpecialTokens: skipsSpecialTokens)
  }

  /// The token that is `text` as the file has it; nil if there is none.
  public func token(_ text: String) -> Int32? {
    added.values.first { $0.text.utf8.elementsEqual(text.utf8) }?.token
      ?? parts.model.token(Array(text.utf8))
  }

  /// What a token gives the decoder; nil if there is no such token.
  fileprivate func text(of token: Int32) -> [UInt8]? {
    if let text = parts.decodedTexts[token] ?? added[token]?.text { return Array(text.utf8) }
    return parts.model.text(of: token).map(Array.init)
  }

  fileprivate func isSpecial(_ token: Int32) -> Bool { added[token]?.isSpecial == true }
}

/// Decodes tokens of a ``TextTokenizer``. Tokens that it does not have give no text.
private struct TextDecoder: TokenDecoder {
  let tokenizer: TextTokenizer
  var stages: [any DecoderStage]
  let skipsSpecialTokens: Bool

  mutating func append(_ token: Int32) -> String {
    if skipsSpecialTokens, tokenizer.isSpecial(token) { return "" }
    guard let text = tokenizer.text(of: token) else { return "" }
    return run([text], from: 0)
  }

  mutating func finish() -> String {
    var result = ""
    for stage in stages.indices {
      var output: [[UInt8]] = []
      stages[stage].finish(to: &output)
      result += run(output, from: stage + 1)
    }
    return result
  }

  /// The text that comes out behind the last stage when `texts` go into stage `first`.
  private mutating func run(_ texts: [[UInt8]], from first: Int) -> String {
    var texts = texts
    for stage in first..<stages.count {
      var output: [[UInt8]] = []
      for text in texts { stages[stage].append(text, to: &output) }
      texts = output
    }
    return texts.reduce(into: "") { $0 += String(decoding: $1, as: UTF8.self) }
  }
}
