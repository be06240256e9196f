/// Reads JSON5 (json5.org), and says where a text is none.
///
/// ``parse(_:)`` gives a value. A large file is read piece by piece instead: ``members(_:)`` and ``elements(_:)``
/// hand the parser over at each member, whose value the caller reads by one of ``value()``, ``string()``,
/// ``integer()``, ``members(_:)`` or ``elements(_:)``.
package struct JSON5Parser {
  /// What is wrong, and before which byte.
  package struct Failure: Error {
    package let reason: String
    package let offset: Int

    /// The reason with its line and column in `bytes`, the text that was parsed.
    package func located(in bytes: [UInt8]) -> String {
      let before = bytes[..<offset]
      let lineStart = before.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
      let line = before.count { $0 == UInt8(ascii: "\n") } + 1
      let column = String(decoding: before[lineStart...], as: UTF8.self).count + 1
      return "line \(line), column \(column): \(reason)"
    }
  }

  /// Arrays and objects inside each other; more could exhaust the stack.
  private static let depthLimit = 256

  let bytes: [UInt8]
  var offset = 0
  private var depth = 0

  /// - Throws: ``Failure`` if `bytes` is not UTF-8.
  package init(_ bytes: [UInt8]) throws {
    self.bytes = bytes
    guard String(validating: bytes, as: UTF8.self) != nil else {
      throw failure("the text is not UTF-8")
    }
  }

  /// - Throws: ``Failure``.
  package static func parse(_ bytes: [UInt8]) throws -> JSONValue {
    var parser = try JSON5Parser(bytes)
    let value = try parser.value()
    try parser.end()
    return value
  }

  /// Checks that nothing follows the value that was read.
  package mutating func end() throws {
    try skipSpace()
    guard next == nil else { throw failure("something follows the value") }
  }

  var next: UInt8? { offset < bytes.count ? bytes[offset] : nil }

  package func failure(_ reason: String, at place: Int? = nil) -> Failure {
    Failure(reason: reason, offset: place ?? offset)
  }

  mutating func take(_ text: StaticString) -> Bool {
    text.withUTF8Buffer { expected in
      guard bytes[offset...].starts(with: expected) else { return false }
      offset += expected.count
      return true
    }
  }

  /// Passes one ASCII character.
  private mutating func pass(_ mark: Unicode.Scalar) -> Bool {
    guard let next, next == mark.value else { return false }
    offset += 1
    return true
  }

  // MARK: Space and comments

  private mutating func skipSpace() throws {
    while let byte = next {
      if (0x09...0x0D).contains(byte) || byte == UInt8(ascii: " ") {
        offset += 1
      } else if byte < 0x80 && byte != UInt8(ascii: "/") {
        return
      } else if take("//") {
        while let byte = next, byte != UInt8(ascii: "\n") && byte != UInt8(ascii: "\r") {
          offset += 1
        }
      } else if take("/*") {
        let start = offset - 2
        while !take("*/") {
          guard next != nil else { throw failure("the comment does not end", at: start) }
          offset += 1
        }
      } else if !take("\u{FEFF}") && !take("\u{A0}") && !take("\u{2028}") && !take("\u{2029}") {
        return
      }
    }
  }

  // MARK: Values

  /// The value that comes next.
  package mutating func value() throws -> JSONValue {
    switch try nextKind() {
    case UInt8(ascii: "{"):
      var members: [String: JSONValue] = [:]
      try self.members { parser, key in
        let name = String(decoding: key, as: UTF8.self)
        guard members[name] == nil else { throw parser.duplicate(key) }
        members[name] = try parser.value()
      }
      return .object(members)
    case UInt8(ascii: "["):
      var elements: [JSONValue] = []
      try self.elements { elements.append(try $0.value()) }
      return .array(elements)
    case UInt8(ascii: "\""), UInt8(ascii: "'"):
      return .string(String(decoding: try quoted(), as: UTF8.self))
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "+"),
      UInt8(ascii: "-"):
      return try number()
    default:
      let start = offset
      switch String(decoding: word(), as: UTF8.self) {
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

  /// The first byte of the value that comes next: `{`, `[`, a quote, or another.
  package mutating func nextKind() throws -> UInt8 {
    try skipSpace()
    guard let next else { throw failure("a value is missing") }
    return next
  }

  /// The string that comes next, in UTF-8.
  package mutating func string() throws -> [UInt8] {
    let kind = try nextKind()
    guard kind == UInt8(ascii: "\"") || kind == UInt8(ascii: "'") else {
      throw failure("a string is missing")
    }
    return try quoted()
  }

  /// The whole number that comes next.
  package mutating func integer() throws -> Int {
    try skipSpace()
    let start = offset
    guard case .integer(let value) = try value() else {
      throw failure("a whole number is missing", at: start)
    }
    return value
  }

  /// The characters of the number that comes next.
  package mutating func numberText() throws -> ArraySlice<UInt8> {
    try skipSpace()
    let start = offset
    switch try value() {
    case .integer, .number: return bytes[start..<offset]
    default: throw failure("a number is missing", at: start)
    }
  }

  /// Reads the array that comes next; `body` reads one element.
  package mutating func elements(_ body: (inout JSON5Parser) throws -> Void) throws {
    guard try nextKind() == UInt8(ascii: "[") else { throw failure("an array is missing") }
    try enter()
    while true {
      try skipSpace()
      if pass("]") { break }
      try body(&self)
      try skipSpace()
      if pass("]") { break }
      guard pass(",") else { throw failure("a comma or ] is missing") }
    }
    depth -= 1
  }

  /// Reads the object that comes next; `body` gets a key in UTF-8 and reads its value. That a key stands twice
  /// is for `body` to refuse, with ``duplicate(_:)``.
  package mutating func members(
    _ body: (inout JSON5Parser, _ key: [UInt8]) throws -> Void
  ) throws {
    guard try nextKind() == UInt8(ascii: "{") else { throw failure("an object is missing") }
    try enter()
    while true {
      try skipSpace()
      if pass("}") { break }
      keyStart = offset
      let isQuoted = next == UInt8(ascii: "\"") || next == UInt8(ascii: "'")
      let key = isQuoted ? try quoted() : word()
      guard isQuoted || !key.isEmpty else { throw failure("a key or } is missing") }
      try skipSpace()
      guard pass(":") else {
        throw failure("a colon is missing after the key \(String(decoding: key, as: UTF8.self))")
      }
      try body(&self, key)
      try skipSpace()
      if pass("}") { break }
      guard pass(",") else { throw failure("a comma or } is missing") }
    }
    depth -= 1
  }

  /// Where the key of the member being read starts, until another key is read.
  private var keyStart = 0

  /// The failure of an object that has a key twice, before the value of the second is read.
  package func duplicate(_ key: [UInt8]) -> Failure {
    failure("the key \(String(decoding: key, as: UTF8.self)) stands twice", at: keyStart)
  }

  /// Passes the bracket that opens an array or object.
  private mutating func enter() throws {
    depth += 1
    guard depth <= Self.depthLimit else {
      throw failure("more than \(Self.depthLimit) arrays and objects lie inside each other")
    }
    offset += 1
  }

  /// The letters, digits, `_` and `$` that come next, as of keys without quotes. Every character
  /// beyond ASCII counts as a letter.
  private mutating func word() -> [UInt8] {
    let start = offset
    while let byte = next {
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "_"), UInt8(ascii: "$"), 0x80...:
        offset += 1
      case UInt8(ascii: "0")...UInt8(ascii: "9") where offset > start: offset += 1
      default: return Array(bytes[start..<offset])
      }
    }
    return Array(bytes[start..<offset])
  }
}
