/// Text as its UTF-8 bytes: token i is byte i.
public struct ByteTokenizer: Sendable {
  /// How many tokens there are.
  public static let vocabularySize = 256

  public init() {}

  public func encode(_ text: String) -> [Int32] { text.utf8.map(Int32.init) }

  /// The text of `tokens`. What is not UTF-8, tokens beyond the bytes included, becomes U+FFFD.
  public func decode(_ tokens: some Sequence<Int32>) -> String {
    var decoder = StreamingDecoder()
    return tokens.reduce(into: "") { $0 += decoder.append($1) } + decoder.finish()
  }
}
