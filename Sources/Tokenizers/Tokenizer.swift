/// Text as tokens, and back.
///
/// A value that several threads may use at once.
public protocol Tokenizer: Sendable {
  /// One more than the largest token, so the number of rows of an embedding table.
  var vocabularySize: Int { get }

  /// The tokens of `text`, in order, without tokens that mark its beginning or end.
  ///
  /// - Throws: ``TokenizerError`` if the text cannot be encoded.
  func encode(_ text: String) throws -> [Int32]

  /// A decoder of a new text.
  func decoder() -> any TokenDecoder
}

extension Tokenizer {
  /// The text of `tokens`. Bytes that are not UTF-8 become U+FFFD.
  public func decode(_ tokens: some Sequence<Int32>) -> String {
    var decoder = decoder()
    var text = tokens.reduce(into: "") { $0 += decoder.append($1) }
    text += decoder.finish()
    return text
  }
}

/// Decodes the tokens of one text as they arrive.
///
/// A token may end inside of a character: its bytes are held back until the character is complete. The pieces
/// together are the text of all tokens decoded at once.
public protocol TokenDecoder: Sendable {
  /// The text that `token` completes; often that of the token, sometimes none or more.
  mutating func append(_ token: Int32) -> String

  /// What was held back. The decoder then begins a new text.
  mutating func finish() -> String
}
