/// Why a header's text is malformed.
struct MalformedHeader: Error {
  let reason: String
}

/// Parses a file's header: the few forms that JSON and Python dictionaries share. It neither recurses nor
/// trusts a length, so no input can harm it.
struct HeaderScanner {
  private let bytes: UnsafeRawBufferPointer
  private var position = 0

  init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  /// Whether only white space is left.
  mutating func isAtEnd() -> Bool {
    skipSpaces()
    return position == bytes.count
  }

  /// Consumes `character` if it comes next.
  mutating func skip(_ character: Unicode.Scalar) -> Bool {
    skipSpaces()
    guard position < bytes.count, bytes[position] == UInt8(ascii: character) else { return false }
    position += 1
    return true
  }

  mutating func expect(_ character: Unicode.Scalar) throws {
    guard skip(character) else { throw unexpected("'\(character)'") }
  }

  /// A non-negative integer.
  mutating func integer() throws -> Int {
    skipSpaces()
    var value = 0
    let start = position
    while position < bytes.count, let digit = digit(bytes[position], radix: 10) {
      let (tens, overflow) = value.multipliedReportingOverflow(by: 10)
      let (sum, carry) = tens.addingReportingOverflow(digit)
      guard !overflow, !carry else {
        throw MalformedHeader(reason: "the number at byte \(start) does not fit in 63 bits")
      }
      value = sum
      position += 1
    }
    let hasLeadingZero = position - start > 1 && bytes[start] == UInt8(ascii: "0")
    guard position > start, !hasLeadingZero else {
      throw unexpected("a whole number of at least 0")
    }
    return value
  }

  /// A run of letters, such as `True`.
  mutating func word() -> String {
    skipSpaces()
    let start = position
    while position < bytes.count, Unicode.Scalar(bytes[position]).properties.isAlphabetic {
      position += 1
    }
    return String(decoding: bytes[start..<position], as: UTF8.self)
  }

  /// A string between `quote`s, with JSON's escapes.
  mutating func string(quote: Unicode.Scalar = "\"") throws -> String {
    try expect(quote)
    let start = position
    var content: [UInt8] = []
    while position < bytes.count {
      let byte = bytes[position]
      position += 1
      switch byte {
      case UInt8(ascii: quote):
        guard let text = String(validating: content, as: UTF8.self) else {
          throw MalformedHeader(reason: "the string at byte \(start) is not UTF-8")
        }
        return text
      case UInt8(ascii: "\\"):
        content += try UTF8.encode(escape()) ?? UTF8.encodedReplacementCharacter
      case 0..<0x20:
        throw MalformedHeader(reason: "the string at byte \(start) contains a control character")
      default: content.append(byte)
      }
    }
    throw MalformedHeader(reason: "the string at byte \(start) does not end")
  }

  /// The character of an escape whose backslash has been consumed.
  private mutating func escape() throws -> Unicode.Scalar {
    guard position < bytes.count else { throw unexpected("an escape") }
    let byte = bytes[position]
    position += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(byte)
    case UInt8(ascii: "b"): return "\u{8}"
    case UInt8(ascii: "f"): return "\u{C}"
    case UInt8(ascii: "n"): return "\n"
    case UInt8(ascii: "r"): return "\r"
    case UInt8(ascii: "t"): return "\t"
    case UInt8(ascii: "u"): break
    default: throw MalformedHeader(reason: "unknown escape at byte \(position - 1)")
    }
    let first = try fourHexDigits()
    // A surrogate pair makes one character beyond the first 65,536.
    if 0xD800..<0xDC00 ~= first, position + 1 < bytes.count,
      bytes[position] == UInt8(ascii: "\\"), bytes[position + 1] == UInt8(ascii: "u")
    {
      position += 2
      let second = try fourHexDigits()
      if 0xDC00..<0xE000 ~= second,
        let scalar = Unicode.Scalar(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00))
      {
        return scalar
      }
    } else if let scalar = Unicode.Scalar(first) {
      return scalar
    }
    throw MalformedHeader(reason: "half of a surrogate pair before byte \(position)")
  }

  private mutating func fourHexDigits() throws -> UInt32 {
    var value = 0
    for _ in 0..<4 {
      guard position < bytes.count, let digit = digit(bytes[position], radix: 16) else {
        throw unexpected("a hexadecimal digit")
      }
      value = value * 16 + digit
      position += 1
    }
    return UInt32(value)
  }

  private func digit(_ byte: UInt8, radix: Int) -> Int? {
    guard let value = Character(Unicode.Scalar(byte)).hexDigitValue, byte < 0x80, value < radix
    else { return nil }
    return value
  }

  private mutating func skipSpaces() {
    while position < bytes.count {
      switch bytes[position] {
      case 0x20, 0x09, 0x0A, 0x0D: position += 1
      default: return
      }
    }
  }

  func unexpected(_ wanted: String) -> MalformedHeader {
    let found =
      position < bytes.count
      ? "'\(Unicode.Scalar(bytes[position]).escaped(asASCII: true))'" : "its end"
    return MalformedHeader(reason: "byte \(position) of the header is \(found), not \(wanted)")
  }
}
