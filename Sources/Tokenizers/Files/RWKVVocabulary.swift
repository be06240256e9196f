/// Reads the vocabulary of RWKV's "World" models: on each line a number, the token as Python writes a string or
/// bytes, and its length in bytes.
struct RWKVVocabulary {
  private var bytes: ArraySlice<UInt8>
  private let source: String
  private var line = 1

  /// Whether a file of unknown kind may be one: it begins with a number and a quote.
  static func looksLikeOne(_ bytes: [UInt8]) -> Bool {
    let rest = bytes.prefix(32).drop { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
    guard rest.count < bytes.prefix(32).count else { return false }
    return ["'", "\"", "b'", "b\""].contains { rest.starts(with: (" " + $0).utf8) }
  }

  /// - Throws: ``TokenizerError`` with the line.
  static func read(_ bytes: [UInt8], source: String) throws -> TextTokenizer.Parts {
    var reader = RWKVVocabulary(bytes: bytes[...], source: source)
    var tokens = ByteStrings()
    var numbers: [Int] = []
    while !reader.bytes.isEmpty {
      let (number, token) = try reader.entry()
      numbers.append(number)
      tokens.append(token)
      reader.line += 1
    }
    let vocabulary = try Vocabulary(tokens, numbers: numbers, source: source)
    for byte in UInt8.min ... .max where vocabulary.number(of: [byte]) == nil {
      throw TokenizerError.invalidValue(
        source: source, place: "the token of byte \(byte)", was: "absent", mustBe: "there")
    }
    // Number 0 is the end of a text and stands in no vocabulary.
    return TextTokenizer.Parts(
      model: LongestMatch(vocabulary), decoder: [UTF8Decoder()])
  }

  private init(bytes: ArraySlice<UInt8>, source: String) {
    self.bytes = bytes
    self.source = source
  }

  private func failure(_ reason: String) -> TokenizerError {
    .syntax(source: source, reason: "line \(line): \(reason)")
  }

  /// One line.
  private mutating func entry() throws -> (number: Int, token: [UInt8]) {
    let end = bytes.firstIndex(of: UInt8(ascii: "\n")) ?? bytes.endIndex
    var text = bytes[bytes.startIndex..<end]
    bytes = bytes[end...].dropFirst()
    if text.last == UInt8(ascii: "\r") { text.removeLast() }
    guard let first = text.firstIndex(of: UInt8(ascii: " ")),
      let last = text.lastIndex(of: UInt8(ascii: " ")), first < last,
      let number = Int(String(decoding: text[..<first], as: UTF8.self)),
      let length = Int(String(decoding: text[(last + 1)...], as: UTF8.self))
    else { throw failure("a number, a token and its length are missing") }
    let token = try literal(text[(first + 1)..<last])
    guard token.count == length, length > 0 else {
      throw failure("the token has \(token.count) bytes, not \(length)")
    }
    return (number, token)
  }

  /// The bytes of a Python literal: of a string, its UTF-8.
  private func literal(_ text: ArraySlice<UInt8>) throws -> [UInt8] {
    var rest = text
    let isBytes = rest.first == UInt8(ascii: "b")
    if isBytes { rest.removeFirst() }
    guard rest.count >= 2, let quote = rest.first, rest.last == quote,
      quote == UInt8(ascii: "'") || quote == UInt8(ascii: "\"")
    else { throw failure("the token is not in quotes") }
    rest = rest.dropFirst().dropLast()
    var result: [UInt8] = []
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "\\") else {
        result.append(byte)
        continue
      }
      guard let kind = rest.popFirst() else { throw failure("nothing follows a \\") }
      switch kind {
      case UInt8(ascii: "n"): result.append(0x0A)
      case UInt8(ascii: "r"): result.append(0x0D)
      case UInt8(ascii: "t"): result.append(0x09)
      case UInt8(ascii: "a"): result.append(0x07)
      case UInt8(ascii: "b"): result.append(0x08)
      case UInt8(ascii: "f"): result.append(0x0C)
      case UInt8(ascii: "v"): result.append(0x0B)
      case UInt8(ascii: "\\"), UInt8(ascii: "'"), UInt8(ascii: "\""): result.append(kind)
      case UInt8(ascii: "x"):
        let value = try hexadecimal(&rest, digits: 2)
        if isBytes { result.append(UInt8(value)) } else { result.append(scalar: value) }
      case UInt8(ascii: "u"): result.append(scalar: try hexadecimal(&rest, digits: 4))
      case UInt8(ascii: "U"): result.append(scalar: try hexadecimal(&rest, digits: 8))
      default: throw failure("\\\(Character(Unicode.Scalar(kind))) is unknown")
      }
    }
    return result
  }

  private func hexadecimal(_ rest: inout ArraySlice<UInt8>, digits: Int) throws -> UInt32 {
    let text = String(decoding: rest.prefix(digits), as: UTF8.self)
    rest = rest.dropFirst(digits)
    guard text.utf8.count == digits, let value = UInt32(text, radix: 16),
      Unicode.Scalar(value) != nil
    else { throw failure("a character's number is missing or wrong") }
    return value
  }
}
