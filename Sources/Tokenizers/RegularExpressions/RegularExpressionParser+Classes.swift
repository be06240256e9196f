extension RegularExpressionParser {
  /// A character of the pattern, in both cases where `(?i)` holds.
  func letter(_ scalar: Unicode.Scalar) -> ScalarSet {
    let set = ScalarSet([scalar.value...scalar.value])
    return ignoresCase ? CaseFolding.closed(set) : set
  }

  // MARK: Escapes

  /// What follows a backslash outside of a class.
  mutating func escape() throws -> RegularExpressionNode {
    guard let scalar = next else { throw failure("nothing follows the last \\") }
    switch scalar {
    case "b": return assertion(.wordBoundary)
    case "B": return assertion(.noWordBoundary)
    case "A": return assertion(.textStart)
    case "z": return assertion(.textEnd)
    case "Z" where dialect == .oniguruma: return assertion(.textEndOrLastBreak)
    default: return .set(try escapedSet())
    }
  }

  private mutating func assertion(
    _ assertion: RegularExpressionNode.Assertion
  ) -> RegularExpressionNode {
    offset += 1
    return .assertion(assertion)
  }

  /// The set that follows a backslash.
  private mutating func escapedSet() throws -> ScalarSet {
    guard let scalar = next else { throw failure("nothing follows the last \\") }
    offset += 1
    switch scalar {
    case "s": return .whitespace
    case "S": return ScalarSet.whitespace.inverted
    case "d": return .decimalDigits
    case "D": return ScalarSet.decimalDigits.inverted
    case "w": return words
    case "W": return words.inverted
    case "p", "P": return try property(isNegated: scalar == "P")
    case "n": return letter("\n")
    case "r": return letter("\r")
    case "t": return letter("\t")
    case "f": return letter("\u{0C}")
    case "v": return letter("\u{0B}")
    case "a": return letter("\u{07}")
    case "e": return letter("\u{1B}")
    case "0": return letter("\0")
    case "x", "u": return letter(try hexadecimal(digits: scalar == "x" ? 2 : 4))
    default:
      guard
        !scalar.isASCII || !scalar.properties.isAlphabetic && scalar.properties.numericType == nil
      else { throw failure("\\\(scalar) is not supported") }
      return letter(scalar)
    }
  }

  private var words: ScalarSet { dialect == .oniguruma ? .onigurumaWords : .words }

  /// `FF`, `{1F600}`.
  private mutating func hexadecimal(digits: Int) throws -> Unicode.Scalar {
    let isBraced = take("{")
    let start = offset
    while let next, next.properties.isASCIIHexDigit, isBraced || offset - start < digits {
      offset += 1
    }
    let text = scalars[start..<offset].reduce(into: "") { $0.unicodeScalars.append($1) }
    guard let value = UInt32(text, radix: 16), let scalar = Unicode.Scalar(value),
      isBraced ? take("}") : text.count == digits
    else { throw failure("a character's number is missing or wrong") }
    return scalar
  }

  /// What follows `\p`: `L`, `{Lu}`, `{^Lu}`, `{Han}`, `{Script=Han}`.
  private mutating func property(isNegated: Bool) throws -> ScalarSet {
    var name = ""
    if take("{") {
      while let next, next != "}" {
        name.unicodeScalars.append(next)
        offset += 1
      }
      guard take("}") else { throw failure("the name of a property does not end") }
    } else if let next {
      name.unicodeScalars.append(next)
      offset += 1
    }
    let isInverted = name.hasPrefix("^")
    if isInverted { name.removeFirst() }
    for prefix in ["Script=", "sc=", "General_Category=", "gc="] where name.hasPrefix(prefix) {
      name.removeFirst(prefix.count)
    }
    guard let set = Self.property(name) else {
      throw failure("the property \(name) is not supported")
    }
    return isNegated != isInverted ? set.inverted : set
  }

  private static func property(_ name: String) -> ScalarSet? {
    if name.count <= 2, let set = ScalarSet.category(name) { return set }
    if let script = UnicodeScript.scalars(name) { return script }
    return switch name {
    case "Letter": .letters
    case "Number": .numbers
    case "Punctuation": .punctuation
    case "Mark": .marks
    case "White_Space": .whitespace
    case "Any": .all
    default: nil
    }
  }

  // MARK: Classes

  /// What follows the opening bracket of a class, to the closing one.
  mutating func characterClass() throws -> ScalarSet {
    try enter()
    defer { leave() }
    let isNegated = take("^")
    var set = ScalarSet()
    var intersection: ScalarSet?
    var isFirst = true
    while true {
      guard let next else { throw failure("a ] is missing") }
      if next == "]", !isFirst {
        offset += 1
        break
      }
      isFirst = false
      if take("&&") {
        intersection = intersection?.intersection(set) ?? set
        set = ScalarSet()
      } else if scalars[offset...].starts(with: "[:".unicodeScalars) {
        throw failure("classes such as [:alpha:] are not supported")
      } else if take("[") {
        set = set.union(try characterClass())
      } else {
        set = set.union(try classItem())
      }
    }
    if let intersection { set = intersection.intersection(set) }
    return isNegated ? set.inverted : set
  }

  /// A character, an escape, or a range.
  private mutating func classItem() throws -> ScalarSet {
    let first = try classCharacter()
    guard let lower = first.single, next == "-", offset + 1 < scalars.count,
      scalars[offset + 1] != "]", scalars[offset + 1] != "["
    else { return ignoresCase ? CaseFolding.closed(first) : first }
    offset += 1
    guard let upper = try classCharacter().single, lower <= upper else {
      throw failure("a range ends before it starts")
    }
    let range = ScalarSet([lower...upper])
    return ignoresCase ? CaseFolding.closed(range) : range
  }

  /// One character or escape; case is up to the caller, so that ranges have ends.
  private mutating func classCharacter() throws -> ScalarSet {
    let ignored = ignoresCase
    ignoresCase = false
    defer { ignoresCase = ignored }
    if take("\\") {
      if take("b") { return letter("\u{08}") }
      return try escapedSet()
    }
    guard let scalar = next else { throw failure("a ] is missing") }
    offset += 1
    return letter(scalar)
  }
}

extension ScalarSet {
  /// The member of a set of one.
  fileprivate var single: UInt32? {
    guard ranges.count == 1, ranges[0].count == 1 else { return nil }
    return ranges[0].lowerBound
  }
}
