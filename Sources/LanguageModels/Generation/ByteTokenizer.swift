/// Decodes tokens of a ``ByteTokenizer`` into text as they arrive, in whole characters: the bytes of an
/// unfinished one are held back until it is complete.
///
/// Together the pieces equal the text of all bytes decoded at once, with U+FFFD for each maximal part
/// that is not UTF-8.
public struct StreamingDecoder: Sendable {
  /// The beginning of a character, at most three bytes.
  private var pending: [UInt8] = []

  public init() {}

  /// The characters that `token` completes, often none or one.
  public mutating func append(_ token: Int32) -> String {
    guard let byte = UInt8(exactly: token) else { return finish() + "\u{FFFD}" }
    // A byte that does not continue the character may begin the next.
    let broken = Self.isContinued(pending, by: byte) ? "" : finish()
    pending.append(byte)
    return broken + (Self.isUnfinished(pending) ? "" : finish())
  }

  /// What is held back, as text: U+FFFD, or nothing if no character is unfinished.
  public mutating func finish() -> String {
    defer { pending = [] }
    return String(decoding: pending, as: UTF8.self)
  }

  /// Whether `byte` may follow `bytes`, the beginning of a character.
  private static func isContinued(_ bytes: [UInt8], by byte: UInt8) -> Bool {
    guard bytes.count == 1 else { return (0x80...0xBF).contains(byte) }
    // The second byte also rules out overlong forms, surrogates and values above U+10FFFF.
    return switch bytes[0] {
    case 0xE0: (0xA0...0xBF).contains(byte)
    case 0xED: (0x80...0x9F).contains(byte)
    case 0xF0: (0x90...0xBF).contains(byte)
    case 0xF4: (0x80...0x8F).contains(byte)
    default: (0x80...0xBF).contains(byte)
    }
  }

  /// Whether `bytes` needs more bytes to be a character.
  private static func isUnfinished(_ bytes: [UInt8]) -> Bool {
    switch bytes[0] {
    case 0xC2...0xDF: bytes.count < 2
    case 0xE0...0xEF: bytes.count < 3
    case 0xF0...0xF4: bytes.count < 4
    default: false
    }
  }
}

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
