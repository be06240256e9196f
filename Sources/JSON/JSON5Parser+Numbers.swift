extension JSON5Parser {
  /// A number, `Infinity` or `NaN`, with or without a sign.
  mutating func number() throws -> JSONValue {
    let start = offset
    if let whole = plainInteger() { return .integer(whole) }
    let isNegative = take("-")
    if !isNegative { _ = take("+") }
    if take("Infinity") { return .number(isNegative ? -.infinity : .infinity) }
    if take("NaN") { return .number(.nan) }
    let isHexadecimal = take("0x") || take("0X")
    let digits = offset
    while offset < bytes.count, isPart(at: offset, ofHexadecimal: isHexadecimal) { offset += 1 }
    var text = String(decoding: bytes[digits..<offset], as: UTF8.self)
    if isHexadecimal {
      if let magnitude = Int(text, radix: 16) {
        return .integer(isNegative ? -magnitude : magnitude)
      }
    } else if isDecimal(text.utf8) {
      if let whole = Int((isNegative ? "-" : "") + text) { return .integer(whole) }
      if let value = Double(text) { return .number(isNegative ? -value : value) }
      // Swift asks for a digit on each side of the point.
      if text.hasPrefix(".") { text = "0" + text }
      if text.hasSuffix(".") { text += "0" }
      text = text.replacing(".e", with: ".0e").replacing(".E", with: ".0E")
      if let value = Double(text) { return .number(isNegative ? -value : value) }
    }
    throw failure(
      "\(String(decoding: bytes[start..<offset], as: UTF8.self)) is not a number", at: start)
  }

  /// Whether a number without sign has the digits and signs that decimal ones have, and no zero
  /// before its other digits. Whether they are in order is left to `Double`.
  private func isDecimal(_ text: String.UTF8View) -> Bool {
    let marks = "eE.+-".utf8
    return text.allSatisfy { isDigit($0) || marks.contains($0) }
      && text.prefix(2).contains(where: isDigit)
      && !(text.first == UInt8(ascii: "0") && text.dropFirst().first.map(isDigit) == true)
  }

  private func isDigit(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
  }

  /// Whether the byte at `place` can belong to a number after its sign; what it makes up is checked later.
  private func isPart(at place: Int, ofHexadecimal isHexadecimal: Bool) -> Bool {
    let byte = bytes[place]
    let letter = byte | 0x20
    if isDigit(byte) || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(letter) { return true }
    if isHexadecimal { return false }
    if byte == UInt8(ascii: ".") { return true }
    let isSign = byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-")
    return isSign && bytes[place - 1] | 0x20 == UInt8(ascii: "e")
  }

  /// The digits that come next, if they are a whole number of up to 18 digits without sign; otherwise nothing is
  /// read. Of a large file almost every number is one.
  private mutating func plainInteger() -> Int? {
    let mostDigits = 18
    var value = 0
    var end = offset
    while end < bytes.count, isDigit(bytes[end]), end - offset < mostDigits {
      value = value * 10 + Int(bytes[end] - UInt8(ascii: "0"))
      end += 1
    }
    let digits = end - offset
    guard digits > 0, digits == 1 || bytes[offset] != UInt8(ascii: "0") else {
      return nil
    }
    if end < bytes.count, isPart(at: end, ofHexadecimal: false) { return nil }
    offset = end
    return value
  }
}
