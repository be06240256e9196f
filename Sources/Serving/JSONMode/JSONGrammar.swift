/// Reads a JSON object byte by byte, and refuses the first byte that cannot belong to one.
///
/// After every accepted byte the object can be completed. White space between values is limited, so that a
/// model cannot go on with nothing else.
struct JSONGrammar: Hashable, Sendable {
  private enum Place: Hashable, Sendable {
    /// Before a value; in an array that has just begun, `]` may come instead.
    case value(mayClose: Bool)
    /// Before a key; in an object that has just begun, `}` may come instead.
    case key(mayClose: Bool)
    case colon
    /// After a value inside an array or object.
    case afterValue
    case string(isKey: Bool)
    case escape(isKey: Bool)
    /// Inside of `\uXXXX`, with so many digits missing.
    case unicode(missing: Int, isKey: Bool)
    case number(Number)
    /// Inside of `true`, `false` or `null`, with the rest.
    case word(rest: [UInt8])
    case end
  }

  /// The parts of a number, each after what it is called.
  private enum Number: Hashable, Sendable {
    case minus, zero, integer, point, fraction, exponent, exponentSign, exponentDigits

    /// Whether the number may end here.
    var isComplete: Bool {
      switch self {
      case .zero, .integer, .fraction, .exponentDigits: true
      case .minus, .point, .exponent, .exponentSign: false
      }
    }
  }

  private enum Container: Hashable, Sendable { case object, array }

  private static let spaceLimit = 32
  private static let depthLimit = 64

  private var place = Place.value(mayClose: false)
  private var containers: [Container] = []
  private var spaces = 0

  /// Whether the object is complete.
  var isComplete: Bool { place == .end }

  /// Whether the next byte belongs to a string, where any character may stand.
  var isInString: Bool {
    if case .string = place { true } else { false }
  }

  /// Reads a text.
  ///
  /// - Returns: whether all of it may come next. If not, the state is of no more use.
  mutating func accept(_ text: String) -> Bool {
    for byte in text.utf8 {
      guard accept(byte) else { return false }
    }
    return true
  }

  private mutating func accept(_ byte: UInt8) -> Bool {
    switch place {
    case .string(let isKey): return acceptInString(byte, isKey: isKey)
    case .escape(let isKey):
      if byte == UInt8(ascii: "u") {
        place = .unicode(missing: 4, isKey: isKey)
        return true
      }
      place = .string(isKey: isKey)
      return #""\/bfnrt"#.utf8.contains(byte)
    case .unicode(let missing, let isKey):
      guard Character(Unicode.Scalar(byte)).isHexDigit, byte < 0x80 else { return false }
      place = missing > 1 ? .unicode(missing: missing - 1, isKey: isKey) : .string(isKey: isKey)
      return true
    case .word(let rest):
      guard rest.first == byte else { return false }
      place = rest.count > 1 ? .word(rest: Array(rest.dropFirst())) : .afterValue
      return true
    case .number(let part):
      if let next = Self.next(part, byte) {
        place = .number(next)
        return true
      }
      guard part.isComplete else { return false }
      place = .afterValue
      return acceptBetween(byte)
    default: return acceptBetween(byte)
    }
  }

  private mutating func acceptInString(_ byte: UInt8, isKey: Bool) -> Bool {
    switch byte {
    case UInt8(ascii: "\""): place = isKey ? .colon : .afterValue
    case UInt8(ascii: "\\"): place = .escape(isKey: isKey)
    case ..<0x20: return false
    default: break
    }
    return true
  }

  /// Reads a byte outside of strings, numbers and words.
  private mutating func acceptBetween(_ byte: UInt8) -> Bool {
    if " \n\r\t".utf8.contains(byte) {
      spaces += 1
      return spaces <= Self.spaceLimit && place != .end
    }
    spaces = 0
    switch (place, byte) {
    case (.key(true), UInt8(ascii: "}")): close()
    case (.key, UInt8(ascii: "\"")): place = .string(isKey: true)
    case (.colon, UInt8(ascii: ":")): place = .value(mayClose: false)
    case (.afterValue, UInt8(ascii: ",")):
      place = containers.last == .object ? .key(mayClose: false) : .value(mayClose: false)
    case (.afterValue, UInt8(ascii: "}")) where containers.last == .object: close()
    case (.afterValue, UInt8(ascii: "]")) where containers.last == .array: close()
    case (.value(true), UInt8(ascii: "]")): close()
    case (.value, _): return beginValue(byte)
    default: return false
    }
    return true
  }

  private mutating func close() {
    containers.removeLast()
    place = containers.isEmpty ? .end : .afterValue
  }

  private mutating func beginValue(_ byte: UInt8) -> Bool {
    // The whole is an object.
    guard !containers.isEmpty || byte == UInt8(ascii: "{") else { return false }
    switch byte {
    case UInt8(ascii: "{"), UInt8(ascii: "["):
      guard containers.count < Self.depthLimit else { return false }
      let isObject = byte == UInt8(ascii: "{")
      containers.append(isObject ? .object : .array)
      place = isObject ? .key(mayClose: true) : .value(mayClose: true)
    case UInt8(ascii: "\""): place = .string(isKey: false)
    case UInt8(ascii: "t"): place = .word(rest: Array("rue".utf8))
    case UInt8(ascii: "f"): place = .word(rest: Array("alse".utf8))
    case UInt8(ascii: "n"): place = .word(rest: Array("ull".utf8))
    case UInt8(ascii: "-"): place = .number(.minus)
    case UInt8(ascii: "0"): place = .number(.zero)
    case UInt8(ascii: "1")...UInt8(ascii: "9"): place = .number(.integer)
    default: return false
    }
    return true
  }

  /// The part of a number after another byte; nil if the byte does not continue it.
  private static func next(_ part: Number, _ byte: UInt8) -> Number? {
    let isDigit = (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    let isExponent = byte | 0x20 == UInt8(ascii: "e")
    switch part {
    case .minus: return byte == UInt8(ascii: "0") ? .zero : isDigit ? .integer : nil
    case .zero, .integer:
      if isDigit { return part == .integer ? .integer : nil }
      return byte == UInt8(ascii: ".") ? .point : isExponent ? .exponent : nil
    case .point: return isDigit ? .fraction : nil
    case .fraction: return isDigit ? .fraction : isExponent ? .exponent : nil
    case .exponent:
      if byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-") { return .exponentSign }
      return isDigit ? .exponentDigits : nil
    case .exponentSign, .exponentDigits: return isDigit ? .exponentDigits : nil
    }
  }
}
