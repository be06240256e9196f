/// Reads a regular expression: the syntax that published tokenizers use.
///
/// Groups `( )`, `(?: )`, `(?i: )`, `(?> )`, lookaheads, alternatives, classes with ranges, properties, negation and
/// `&&`, greedy, lazy and possessive quantifiers, anchors, and the usual escapes. Groups capture nothing. Back references,
/// lookbehinds and conditions are refused.
struct RegularExpressionParser {
  let pattern: String
  let dialect: RegularExpressionDialect
  let scalars: [Unicode.Scalar]
  var offset = 0
  var ignoresCase = false
  private var depth = 0

  /// Groups and classes inside of each other; more could exhaust the stack.
  private static let depthLimit = 100
  /// The largest count of `{n,m}`.
  private static let mostRepetitions = 1000
  /// Quantifiers of quantifiers.
  private static let mostQuantifiers = 8

  /// - Throws: ``TokenizerError/pattern(_:reason:)``.
  static func parse(
    _ pattern: String, dialect: RegularExpressionDialect
  ) throws -> RegularExpressionNode {
    var parser = RegularExpressionParser(pattern: pattern, dialect: dialect)
    let node = try parser.alternatives()
    guard parser.next == nil else { throw parser.failure("a ) has no (") }
    return node
  }

  private init(pattern: String, dialect: RegularExpressionDialect) {
    self.pattern = pattern
    self.dialect = dialect
    scalars = Array(pattern.unicodeScalars)
  }

  var next: Unicode.Scalar? { offset < scalars.count ? scalars[offset] : nil }

  func failure(_ reason: String) -> TokenizerError {
    .pattern(pattern, reason: "\(reason), at character \(offset + 1)")
  }

  mutating func take(_ text: String) -> Bool {
    guard scalars[offset...].starts(with: text.unicodeScalars) else { return false }
    offset += text.unicodeScalars.count
    return true
  }

  mutating func enter() throws {
    depth += 1
    guard depth <= Self.depthLimit else {
      throw failure("more than \(Self.depthLimit) groups lie inside each other")
    }
  }

  mutating func leave() { depth -= 1 }

  // MARK: Structure

  private mutating func alternatives() throws -> RegularExpressionNode {
    try enter()
    defer { leave() }
    var alternatives = [try sequence()]
    while take("|") { alternatives.append(try sequence()) }
    return alternatives.count == 1 ? alternatives[0] : .alternatives(alternatives)
  }

  private mutating func sequence() throws -> RegularExpressionNode {
    var nodes: [RegularExpressionNode] = []
    while let next, next != "|", next != ")" {
      nodes.append(try quantified(try item(next)))
    }
    return nodes.count == 1 ? nodes[0] : .sequence(nodes)
  }

  /// One character, class, group or assertion, which starts with `scalar`.
  private mutating func item(_ scalar: Unicode.Scalar) throws -> RegularExpressionNode {
    if take("(") { return try group() }
    if take("[") { return .set(try characterClass()) }
    if take(".") { return .set(ScalarSet([0x0A...0x0A]).inverted) }
    if take("^") { return .assertion(dialect == .oniguruma ? .lineStart : .textStart) }
    if take("$") { return .assertion(dialect == .oniguruma ? .lineEnd : .textEnd) }
    if take("\\") { return try escape() }
    guard !"*+?".unicodeScalars.contains(scalar) else { throw failure("nothing is repeated") }
    offset += 1
    return .set(letter(scalar))
  }

  private mutating func group() throws -> RegularExpressionNode {
    let outer = ignoresCase
    defer { ignoresCase = outer }
    var isAtomic = false
    var lookahead: Bool?
    if take("?") {
      if take("=") {
        lookahead = false
      } else if take("!") {
        lookahead = true
      } else if take(">") {
        isAtomic = true
      } else if take("P<") || (scalars[offset...].starts(with: "<".unicodeScalars) && isName(at: 1))
      {
        while let next, next != ">" { offset += 1 }
        guard take(">") else { throw failure("the name of a group does not end") }
      } else {
        let isOn = !take("-")
        if take("i") { ignoresCase = isOn }
        // Holds for the rest of the group around it, whose parenthesis is left to that group.
        if take(")") { return try alternatives() }
        guard take(":") else { throw failure("this kind of group is not supported") }
      }
    }
    let node = try alternatives()
    guard take(")") else { throw failure("a ) is missing") }
    if let lookahead { return .lookahead(node, isNegative: lookahead) }
    return isAtomic ? .atomic(node) : node
  }

  /// Whether a letter stands `distance` characters on, so that `(?<` begins a name.
  private func isName(at distance: Int) -> Bool {
    offset + distance < scalars.count && scalars[offset + distance].properties.isAlphabetic
  }

  // MARK: Quantifiers

  private mutating func quantified(_ node: RegularExpressionNode) throws -> RegularExpressionNode {
    var node = node
    var count = 0
    while let (minimum, maximum, isInterval) = try quantifier() {
      var preference = RegularExpressionNode.Repetition.Preference.most
      if take("?") {
        preference = .fewest
      } else if !(isInterval && dialect == .oniguruma), take("+") {
        preference = .mostWithoutReturn
      }
      count += 1
      guard count <= Self.mostQuantifiers else {
        throw failure("more than \(Self.mostQuantifiers) quantifiers follow each other")
      }
      node = .repetition(
        node, .init(minimum: minimum, maximum: maximum, preference: preference))
    }
    return node
  }

  private mutating func quantifier() throws -> (Int, Int?, Bool)? {
    if take("*") { return (0, nil, false) }
    if take("+") { return (1, nil, false) }
    if take("?") { return (0, 1, false) }
    let start = offset
    guard take("{") else { return nil }
    let minimum = number()
    let hasComma = take(",")
    let maximum = hasComma ? number() : minimum
    guard take("}"), minimum != nil || maximum != nil else {
      // A brace that is no quantifier is a character.
      offset = start
      return nil
    }
    let most = Self.mostRepetitions
    guard minimum ?? 0 <= most, maximum ?? 0 <= most, minimum ?? 0 <= maximum ?? most else {
      throw failure("a count is above \(most), or the first is above the second")
    }
    return (minimum ?? 0, maximum, true)
  }

  private mutating func number() -> Int? {
    let start = offset
    var value = 0
    while let digit = next.flatMap({ $0.isASCII ? Character($0).wholeNumberValue : nil }) {
      value = min(value * 10 + digit, Self.mostRepetitions + 1)
      offset += 1
    }
    return offset > start ? value : nil
  }
}
