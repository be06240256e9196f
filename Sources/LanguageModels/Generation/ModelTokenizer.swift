import AttentionTokenizers

/// The tokenizer of a model: bytes for a model of this package, that of its folder for a published one.
///
///     let tokenizer = try ModelTokenizer(of: checkpoint.format, folder: folder, fitting: checkpoint.description)
///     let tokens = try tokenizer.tokens(of: Array("Once".utf8))
public struct ModelTokenizer: Sendable {
  /// The tokenizer; nil for bytes.
  private let published: TextTokenizer?
  /// Tokens that end a text.
  public let endTokens: Set<Int32>

  /// One token per byte.
  public static let bytes = ModelTokenizer(published: nil, endTokens: [])

  private init(published: TextTokenizer?, endTokens: Set<Int32>) {
    self.published = published
    self.endTokens = endTokens
  }

  /// Opens the tokenizer of a model's folder.
  ///
  /// - Parameters:
  ///   - format: whose configuration the folder has.
  ///   - folder: of a checkpoint, or of a published model.
  ///   - description: the model, whose embedding must have a row for each token.
  /// - Throws: `TokenizerError`, or ``GenerationError/invalidArgument(_:was:mustBe:)`` if the tokenizer does not fit the
  ///   model.
  public init(
    of format: Checkpoint.Format, folder: String, fitting description: ModelDescription
  ) throws {
    let vocabulary = description.vocabularySize
    switch format {
    case .own:
      let own = ByteTokenizer.vocabularySize
      guard vocabulary == own else {
        throw GenerationError.invalidArgument(
          "the model's vocabulary_size", was: "\(vocabulary)", mustBe: "\(own), one token a byte")
      }
      self = .bytes
    case .published:
      let opened = try TextTokenizer(path: folder)
      guard opened.vocabularySize <= vocabulary else {
        throw GenerationError.invalidArgument(
          "the tokenizer of \(folder)", was: "one of \(opened.vocabularySize) tokens",
          mustBe: "of at most \(vocabulary), as the model's embedding has")
      }
      self.init(published: opened, endTokens: try PublishedModel.endTokens(of: folder))
    }
  }

  /// Whether tokens are bytes.
  public var isBytes: Bool { published == nil }

  /// The tokens of a whole text, between those that its tokenizer puts around one.
  ///
  /// - Parameter text: UTF-8; of bytes, any.
  /// - Throws: `TokenizerError`, also for a published tokenizer's text that is not UTF-8.
  public func tokens(of text: [UInt8]) throws -> [Int32] {
    guard let published else { return text.map(Int32.init) }
    return try published.encode(
      utf8: text, options: TextTokenizer.EncodingOptions(marksEnds: true))
  }

  /// The tokens of a text that goes on: without those that end one.
  ///
  /// - Throws: `TokenizerError`.
  public func tokens(ofPrompt prompt: String) throws -> [Int32] {
    var tokens = try tokens(of: Array(prompt.utf8))
    // What ends a text does not begin its continuation.
    while let last = tokens.last, endTokens.contains(last), tokens.count > 1 {
      tokens.removeLast()
    }
    return tokens
  }

  /// The tokens of a conversation that a chat template has written: its special tokens are in the text.
  ///
  /// - Throws: `TokenizerError`.
  public func tokens(ofConversation text: String) throws -> [Int32] {
    try published?.encode(text) ?? ByteTokenizer().encode(text)
  }

  /// Whether a token marks a place in a text, and is none of its characters.
  public func isSpecial(_ token: Int32) -> Bool {
    published?.addedTokens.contains { $0.token == token && $0.isSpecial } ?? false
  }

  /// A decoder of the tokens that follow, without those that mark beginnings and ends.
  public func decoder() -> any TokenDecoder {
    published?.decoder(skipsSpecialTokens: true) ?? ByteTokenizer().decoder()
  }
}
