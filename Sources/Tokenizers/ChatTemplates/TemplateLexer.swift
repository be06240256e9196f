/// A part of a template.
enum TemplateToken: Equatable {
  /// Text that is written as it is.
  case text(String)
  /// The beginning and the end of `{{ … }}`.
  case outputStart, outputEnd
  /// The beginning and the end of `{% … %}`.
  case blockStart, blockEnd
  case name(String)
  case string(String)
  case integer(Int)
  case number(Double)
  case mark(String)
  case end
}

/// Cuts a template into tokens.
///
/// As where chat templates are used, a line break after a block is left out, and so is white space between the
/// beginning of a line and a block.
struct TemplateLexer {
  /// A token with the line it begins in, from 1.
  struct Located {
    let token: TemplateToken
    let line: Int
  }

  /// What becomes of white space after a tag.
  private enum Ending {
    /// It stays; after a block a line break is left out.
    case plain
    /// `+`: all of it stays.
    case keeps
    /// `-`: it is left out.
    case strips
  }

  private let scalars: [Unicode.Scalar]
  private var offset = 0
  private var line = 1
  private var tokens: [Located] = []

  private static let marks = [
    "**", "//", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "<", ">", "=", "(", ")", "[",
    "]", "{", "}", ",", ".", ":", "|",
  ]

  /// - Throws: ``ChatTemplateError/syntax(line:reason:)``.
  static func tokens(of template: String) throws -> [Located] {
    var lexer = TemplateLexer(template)
    try lexer.run()
    return lexer.tokens
  }

  private init(_ template: String) {
    var scalars: [Unicode.Scalar] = []
    for scalar in template.unicodeScalars {
      // A line ends in \n, whatever the file has; \r\n and \r are \n.
      if scalar == "\n", scalars.last == "\r" { scalars.removeLast() }
      scalars.append(scalar)
    }
    scalars = scalars.map { $0 == "\r" ? "\n" : $0 }
    if scalars.last == "\n" { scalars.removeLast() }
    self.scalars = scalars
  }

  private func failure(_ reason: String) -> ChatTemplateError {
    .syntax(line: line, reason: reason)
  }

  private mutating func emit(_ token: TemplateToken) {
    tokens.append(Located(token: token, line: line))
  }

  private func isNext(_ text: String, at distance: Int = 0) -> Bool {
    scalars[min(offset + distance, scalars.count)...].starts(with: text.unicodeScalars)
  }

  private mutating func take(_ text: String) -> Bool {
    guard isNext(text) else { return false }
    advance(text.unicodeScalars.count)
    return true
  }

  private mutating func advance(_ count: Int = 1) {
    for _ in 0..<count {
      if scalars[offset] == "\n" { line += 1 }
      offset += 1
    }
  }

  // MARK: Text

  private mutating func run() throws {
    var text: [Unicode.Scalar] = []
    /// Whether white space after the last tag is left out.
    var strips = false
    while offset < scalars.count {
      guard isNext("{{") || isNext("{%") || isNext("{#") else {
        text.append(scalars[offset])
        advance()
        continue
      }
      let isOutput = isNext("{{")
      let strip = isNext("-", at: 2)
      let keeps = isNext("+", at: 2)
      if strips { text.removeFirst(text.prefix { $0.properties.isWhitespace }.count) }
      if strip {
        while text.last?.properties.isWhitespace == true { text.removeLast() }
      } else if !isOutput, !keeps {
        leaveOutIndentation(&text)
      }
      emitText(&text)
      if take("{#") {
        strips = try comment()
      } else if isOutput {
        advance(strip || keeps ? 3 : 2)
        emit(.outputStart)
        strips = try tag(end: "}}") == .strips
        emit(.outputEnd)
      } else {
        advance(strip || keeps ? 3 : 2)
        if let stripsAfter = try raw() {
          strips = stripsAfter
          continue
        }
        emit(.blockStart)
        let ending = try tag(end: "%}")
        emit(.blockEnd)
        strips = ending == .strips
        if ending == .plain { _ = take("\n") }
      }
    }
    if strips { text.removeFirst(text.prefix { $0.properties.isWhitespace }.count) }
    emitText(&text)
    emit(.end)
  }

  private mutating func emitText(_ text: inout [Unicode.Scalar]) {
    if !text.isEmpty { emit(.text(String(String.UnicodeScalarView(text)))) }
    text = []
  }

  /// Leaves out spaces and tabs at the end of `text` if a line begins with them: where the template does, or after a
  /// line break, also one that followed a tag and is gone.
  private func leaveOutIndentation(_ text: inout [Unicode.Scalar]) {
    let indentation = text.reversed().prefix { $0 == " " || $0 == "\t" }.count
    let start = offset - indentation
    guard start == 0 || start > 0 && scalars[start - 1] == "\n" else { return }
    text.removeLast(min(indentation, text.count))
  }

  /// Passes a comment; whether white space after it is left out.
  private mutating func comment() throws -> Bool {
    let start = line
    while !isNext("#}") {
      guard offset < scalars.count else {
        throw ChatTemplateError.syntax(line: start, reason: "the comment does not end")
      }
      advance()
    }
    let last = scalars[offset - 1]
    advance(2)
    if last != "-", last != "+" { _ = take("\n") }
    return last == "-"
  }

  /// Passes `raw %} … {% endraw %}` and emits what is inside; nil if something else is next. The result tells whether
  /// white space after it is left out.
  private mutating func raw() throws -> Bool? {
    let (start, startLine) = (offset, line)
    skipSpace()
    guard take("raw") else { return reset(start, startLine) }
    skipSpace()
    let strips = take("-")
    guard take("%}") else { return reset(start, startLine) }
    if !strips { _ = take("\n") }
    var text: [Unicode.Scalar] = []
    while offset < scalars.count {
      if isNext("{%") {
        let (place, placeLine) = (offset, line)
        advance(2)
        let stripsBefore = take("-")
        skipSpace()
        if take("endraw") {
          skipSpace()
          let stripsAfter = take("-")
          guard take("%}") else { throw failure("endraw does not end") }
          if strips { text.removeFirst(text.prefix { $0.properties.isWhitespace }.count) }
          while stripsBefore, text.last?.properties.isWhitespace == true { text.removeLast() }
          emitText(&text)
          if !stripsAfter { _ = take("\n") }
          return stripsAfter
        }
        _ = reset(place, placeLine)
      }
      text.append(scalars[offset])
      advance()
    }
    throw ChatTemplateError.syntax(line: startLine, reason: "raw does not end")
  }

  private mutating func reset(_ offset: Int, _ line: Int) -> Bool? {
    self.offset = offset
    self.line = line
    return nil
  }

  private mutating func skipSpace() {
    while offset < scalars.count, scalars[offset].properties.isWhitespace { advance() }
  }

  // MARK: Tags

  /// Emits the tokens of a tag.
  private mutating func tag(end: String) throws -> Ending {
    var depth = 0
    while true {
      skipSpace()
      guard offset < scalars.count else { throw failure("a \(end) is missing") }
      if depth == 0 {
        if take("-" + end) { return .strips }
        if take("+" + end) { return .keeps }
        if take(end) { return .plain }
      }
      let scalar = scalars[offset]
      if scalar == "\"" || scalar == "'" {
        try string(scalar)
      } else if scalar.properties.isAlphabetic || scalar == "_" {
        let name = scalars[offset...].prefix {
          $0.properties.isAlphabetic || $0 == "_" || $0.properties.numericType != nil
        }
        emit(.name(String(String.UnicodeScalarView(name))))
        advance(name.count)
      } else if ("0"..."9").contains(scalar) {
        try number()
      } else if let mark = Self.marks.first(where: { isNext($0) }) {
        if "([{".contains(mark) { depth += 1 }
        if ")]}".contains(mark) { depth -= 1 }
        emit(.mark(mark))
        advance(mark.unicodeScalars.count)
      } else {
        throw failure("\(scalar) has no meaning here")
      }
    }
  }

  private mutating func number() throws {
    let isDigit = { (scalar: Unicode.Scalar) in ("0"..."9").contains(scalar) || scalar == "_" }
    var text = scalars[offset...].prefix(while: isDigit)
    let rest = scalars[text.endIndex...]
    if rest.first == ".", let digit = rest.dropFirst().first, isDigit(digit) {
      text = scalars[offset..<(text.endIndex + 1 + rest.dropFirst().prefix(while: isDigit).count)]
    }
    let tail = scalars[text.endIndex...]
    if tail.first == "e" || tail.first == "E" {
      let sign = tail.dropFirst().first.map { $0 == "-" || $0 == "+" } == true ? 2 : 1
      let digits = tail.dropFirst(sign).prefix(while: isDigit).count
      if digits > 0 { text = scalars[offset..<(text.endIndex + sign + digits)] }
    }
    let digits = String(String.UnicodeScalarView(text.filter { $0 != "_" }))
    if let whole = Int(digits) {
      emit(.integer(whole))
    } else if let number = Double(digits) {
      emit(.number(number))
    } else {
      throw failure("\(digits) is not a number")
    }
    advance(text.count)
  }

  private mutating func string(_ quote: Unicode.Scalar) throws {
    let start = line
    var text = String.UnicodeScalarView()
    advance()
    while true {
      guard offset < scalars.count else {
        throw ChatTemplateError.syntax(line: start, reason: "a string does not end")
      }
      let scalar = scalars[offset]
      advance()
      if scalar == quote { break }
      guard scalar == "\\", offset < scalars.count else {
        text.append(scalar)
        continue
      }
      let kind = scalars[offset]
      advance()
      switch kind {
      case "n": text.append("\n")
      case "r": text.append("\r")
      case "t": text.append("\t")
      case "b": text.append("\u{08}")
      case "f": text.append("\u{0C}")
      case "v": text.append("\u{0B}")
      case "a": text.append("\u{07}")
      case "0": text.append("\0")
      case "\\", "'", "\"": text.append(kind)
      case "\n": break
      case "x": text.append(try character(digits: 2))
      case "u": text.append(try character(digits: 4))
      case "U": text.append(try character(digits: 8))
      default: text.append(contentsOf: ["\\", kind])
      }
    }
    emit(.string(String(text)))
  }

  private mutating func character(digits: Int) throws -> Unicode.Scalar {
    let text = String(String.UnicodeScalarView(scalars[offset...].prefix(digits)))
    guard text.count == digits, let value = UInt32(text, radix: 16),
      let scalar = Unicode.Scalar(value)
    else { throw failure("a character's number is missing or wrong") }
    advance(digits)
    return scalar
  }
}
