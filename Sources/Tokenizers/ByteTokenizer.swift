/// Text as its UTF-8 bytes: token i is byte i.
public struct ByteTokenizer: Tokenizer {
  /// How many tokens there are.
  public static let vocabularySize = 256

  public init() {}

  public var vocabularySize: Int { Self.vocabularySize }

  public func encode(_ text: String) -> [Int32] { text.utf8.map(Int32.init) }

  public func decoder() -> any TokenDecoder { StreamingDecoder() }
}

/// Decodes tokens of a ``ByteTokenizer`` into text as they arrive, in whole characters: the bytes of an
/// unfinished one are held back until it is complete.
///
/// Together the pieces equal the text of all bytes decoded at once, with U+FFFD for each maximal part
/// that is not UTF-8, and for each token that is no byte.
public struct StreamingDecoder: TokenDecoder {
  private var repair = UTF8Repair()

  public init() {}

  public mutating func append(_ token: Int32) -> String {
    var text: [UInt8] = []
    if let byte = UInt8(exactly: token) {
      repair.append(CollectionOfOne(byte), to: &text)
    } else {
      repair.finish(into: &text)
      text += UTF8Repair.replacement
    }
    return String(decoding: text, as: UTF8.self)
  }

  public mutating func finish() -> String {
    var text: [UInt8] = []
    repair.finish(into: &text)
    return String(decoding: text, as: UTF8.self)
  }
}
