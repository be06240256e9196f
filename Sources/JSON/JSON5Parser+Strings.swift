extension JSON5Parser {
  /// A string between single or double quotes; the opening one comes next.
  mutating func quoted() throws -> [UInt8] {
    let start = offset
    let quote = bytes[offset]
    offset += 1
    let end = plainEnd(quote)
    if end < bytes.count, bytes[end] == quote {
      defer { offset = end + 1 }
      return Array(bytes[offset..<end])
    }
    var text: [UInt8] = []
    while let byte = next {
      offset += 1
      switch byte {
      case quote: return text
      case UInt8(ascii: "\\"): try text += escape()
      case UInt8(ascii: "\n"), UInt8(ascii: "\r"):
        throw failure("the string does not end in its line", at: start)
      default: text.append(byte)
      }
    }
    throw failure("the string does not end", at: start)
  }

  /// Where the characters that stand for themselves end.
  private func plainEnd(_ quote: UInt8) -> Int {
    bytes.withUnsafeBufferPointer { bytes in
      var end = offset
      while end < bytes.count, bytes[end] != quote, bytes[end] != UInt8(ascii: "\\"),
        bytes[end] >= 0x20
      {
        end += 1
      }
      return end
    }
  }

  /// What stands for the characters after a backslash.
  private mutating func escape() throws -> [UInt8] {
    let start = offset - 1
    guard let byte = next else { return [] }
    offset += 1
    switch byte {
    case UInt8(ascii: "b"): return [0x08]
    case UInt8(ascii: "f"): return [0x0C]
    case UInt8(ascii: "n"): return [0x0A]
    case UInt8(ascii: "r"): return [0x0D]
    case UInt8(ascii: "t"): return [0x09]
    case UInt8(ascii: "v"): return [0x0B]
    case UInt8(ascii: "0"): return [0]
    // A line that ends in a backslash goes on in the next.
    case UInt8(ascii: "\n"): return []
    case UInt8(ascii: "\r"):
      if next == UInt8(ascii: "\n") { offset += 1 }
      return []
    case UInt8(ascii: "x"): return try scalar(hexadecimal(digits: 2), start)
    case UInt8(ascii: "u"):
      let unit = try hexadecimal(digits: 4)
      guard (0xD800..<0xDC00).contains(unit) else { return try scalar(unit, start) }
      // The first half of a character beyond 16 bits.
      guard take("\\u") else { throw failure("half a character", at: start) }
      let second = try hexadecimal(digits: 4)
      guard (0xDC00..<0xE000).contains(second) else { throw failure("half a character", at: start) }
      return try scalar(0x10000 + (unit - 0xD800) << 10 + (second - 0xDC00), start)
    case UInt8(ascii: "1")...UInt8(ascii: "9"):
      throw failure("a digit cannot be escaped", at: start)
    default: return [byte]
    }
  }

  private mutating func hexadecimal(digits: Int) throws -> UInt32 {
    let text = String(decoding: bytes[offset...].prefix(digits), as: UTF8.self)
    guard text.utf8.count == digits, let value = UInt32(text, radix: 16) else {
      throw failure("\(digits) hexadecimal digits are missing")
    }
    offset += digits
    return value
  }

  private func scalar(_ value: UInt32, _ start: Int) throws -> [UInt8] {
    guard let scalar = Unicode.Scalar(value) else { throw failure("half a character", at: start) }
    return Array(String(scalar).utf8)
  }
}
