/// Reads JSON5 (json5.org), and says where a text is none.
struct JSON5Parser {
  /// What is wrong, and before which byte.
  struct Failure: Error {
    let reason: String
    let offset: Int
  }

  /// Arrays and objects inside each other; more could exhaust the stack.
  private static let depthLimit = 256

  let bytes: [UInt8]
  var offset = 0
  private var depth = 0

  private init(_ bytes: [UInt8]) { self.bytes = bytes }

  /// - Throws: ``Failure``.
  static func parse(_ bytes: [UInt8]) throws -> JSONValue {
    var parser = JSON5Parser(bytes)
    guard String(validating: bytes, as: UTF8.self) != nil else {
      throw parser.failure("the text is not UTF-8")
    }
    let value = try parser.value()
    try parser.skipSpace()
    guard parser.next == nil else { throw parser.failure("something follows the value") }
    return value
  }

  var next: UInt8? { offset < bytes.count ? bytes[offset] : nil }

  func failure(_ reason: String, at place: Int? = nil) -> Failure {
    Failure(reason: reason, offset: place ?? offset)
  }

  mutating func take(_ text: StaticString) -> Bool {
    text.withUTF8Buffer { expected in
      guard bytes[offset...].starts(with: expected) else { return false }
      offset += expected.count
      return true
    }
  }

  // MARK: Space and comments

  private mutating func skipSpace() throws {
    while let byte = next {
      if take("//") {
        while let byte = next, byte != UInt8(ascii: "\n") && byte != UInt8(ascii: "\r") {
          offset += 1
        }
      } else if take("/*") {
        let start = offset - 2
        while !take("*/") {
          guard next != nil else { throw failure("the comment does not end", at: start) }
          offset += 1
        }
      } else if (0x09...0x0D).contains(byte) || byte == UInt8(ascii: " ") {
        offset += 1
      } else if !take("\u{FEFF}") && !take("\u{A0}") && !take("\u{2028}") && !take("\u{2029}") {
        return
      }
    }
  }

  // MARK: Values

  private mutating func value() throws -> JSONValue {
    try skipSpace()
    guard let next else { throw failure("a value is missing") }
    switch next {
    case UInt8(ascii: "{"): return try nested { .object(try $0.members()) }
    case UInt8(ascii: "["): return try nested { .array(try $0.elements()) }
    case UInt8(ascii: "\""), UInt8(ascii: "'"): return .string(try string())
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "+"),
      UInt8(ascii: "-"):
      return try number()
    default:
      let start = offset
      switch word() {
      case "null": return .null
      case "true": return .bool(true)
      case "false": return .bool(false)
      case "Infinity": return .number(.infinity)
      case "NaN": return .number(.nan)
      case "": throw failure("a value is missing")
      case let word: throw failure("\(word) is not a value; text needs quotes", at: start)
      }
    }
  }

  private mutating func nested(
    _ body: (inout JSON5Parser) throws -> JSONValue
  ) throws -> JSONValue {
    depth += 1
    defer { depth -= 1 }
    guard depth <= Self.depthLimit else {
      throw failure("more than \(Self.depthLimit) arrays and objects lie inside each other")
    }
    offset += 1
    return try body(&self)
  }

  private mutating func elements() throws -> [JSONValue] {
    var elements: [JSONValue] = []
    while true {
      try skipSpace()
      if take("]") { return elements }
      elements.append(try value())
      try skipSpace()
      if take("]") { return elements }
      guard take(",") else { throw failure("a comma or ] is missing") }
    }
  }

  private mutating func members() throws -> [String: JSONValue] {
    var members: [String: JSONValue] = [:]
    while true {
      try skipSpace()
      if take("}") { return members }
      let start = offset
      let isQuoted = next == UInt8(ascii: "\"") || next == UInt8(ascii: "'")
      let key = isQuoted ? try string() : word()
      guard isQuoted || !key.isEmpty else { throw failure("a key or } is missing") }
      guard members[key] == nil else { throw failure("the key \(key) stands twice", at: start) }
      try skipSpace()
      guard take(":") else { throw failure("a colon is missing after the key \(key)") }
      members[key] = try value()
      try skipSpace()
      if take("}") { return members }
      guard take(",") else { throw failure("a comma or } is missing") }
    }
  }

  /// The letters, digits, `_` and `$` that come next, as of keys without quotes. Every character
  /// beyond ASCII counts as a letter.
  private mutating func word() -> String {
    let start = offset
    while let byte = next {
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "_"), UInt8(ascii: "$"), 0x80...:
        offset += 1
      case UInt8(ascii: "0")...UInt8(ascii: "9") where offset > start: offset += 1
      default: return String(decoding: bytes[start..<offset], as: UTF8.self)
      }
    }
    return String(decoding: bytes[start..<offset], as: UTF8.self)
  }

  private mutating func number() throws -> JSONValue {
    let start = offset
    let isNegative = take("-")
    if !isNegative { _ = take("+") }
    if take("Infinity") { return .number(isNegative ? -.infinity : .infinity) }
    if take("NaN") { return .number(.nan) }
    let isHexadecimal = take("0x") || take("0X")
    let digits = offset
    while let byte = next, isPart(byte, ofHexadecimal: isHexadecimal) { offset += 1 }
    var text = String(decoding: bytes[digits..<offset], as: UTF8.self)
    if isHexadecimal {
      if let magnitude = Int(text, radix: 16) {
        return .integer(isNegative ? -magnitude : magnitude)
      }
    } else if isDecimal(text.utf8) {
      if let whole = Int((isNegative ? "-" : "") + text) { return .integer(whole) }
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

  /// Whether a byte can belong to a number after its sign; what it makes up is checked later.
  private func isPart(_ byte: UInt8, ofHexadecimal isHexadecimal: Bool) -> Bool {
    let letter = byte | 0x20
    if isDigit(byte) || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(letter) { return true }
    if isHexadecimal { return false }
    if byte == UInt8(ascii: ".") { return true }
    let isSign = byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-")
    return isSign && bytes[offset - 1] | 0x20 == UInt8(ascii: "e")
  }
}
