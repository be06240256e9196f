/// Reads the statements of a template: Jinja, without inheritance and inclusion.
struct TemplateParser {
  private let tokens: [TemplateLexer.Located]
  var offset = 0
  private(set) var macros: [TemplateMacro] = []
  private var depth = 0

  /// Blocks and parentheses inside of each other; more could exhaust the stack.
  private static let depthLimit = 100
  /// Expressions inside of each other.
  private static let expressionLimit = 300

  /// - Throws: ``ChatTemplateError/syntax(line:reason:)``.
  init(_ template: String) throws { tokens = try TemplateLexer.tokens(of: template) }

  mutating func template() throws -> [TemplateStatement] {
    let statements = try body()
    guard next == .end else { throw failure("\(blockName ?? "a tag") belongs to no block") }
    return statements
  }

  // MARK: Tokens

  var next: TemplateToken { tokens[offset].token }

  var line: Int { tokens[offset].line }

  func failure(_ reason: String) -> ChatTemplateError { .syntax(line: line, reason: reason) }

  mutating func take(_ token: TemplateToken) -> Bool {
    guard next == token else { return false }
    offset += 1
    return true
  }

  mutating func take(_ mark: String) -> Bool { take(.mark(mark)) }

  mutating func takeName(_ name: String) -> Bool { take(.name(name)) }

  mutating func require(_ mark: String) throws {
    guard take(mark) else { throw failure("a \(mark) is missing") }
  }

  mutating func name() throws -> String {
    guard case .name(let name) = next else { throw failure("a name is missing") }
    offset += 1
    return name
  }

  mutating func nested<T>(_ body: (inout TemplateParser) throws -> T) throws -> T {
    depth += 1
    defer { depth -= 1 }
    guard depth <= Self.depthLimit else {
      throw failure("more than \(Self.depthLimit) blocks or parentheses lie inside each other")
    }
    return try body(&self)
  }

  /// An expression made of others.
  ///
  /// - Throws: ``ChatTemplateError/syntax(line:reason:)`` if more lie inside each other than could be evaluated.
  func node(_ line: Int, _ kind: TemplateExpression.Kind) throws -> TemplateExpression {
    let expression = TemplateExpression(line: line, kind: kind)
    guard expression.depth <= Self.expressionLimit else {
      throw failure("more than \(Self.expressionLimit) operations depend on each other")
    }
    return expression
  }

  /// The name of the block that comes next; nil if something else does.
  private var blockName: String? {
    guard next == .blockStart, case .name(let name) = tokens[offset + 1].token else { return nil }
    return name
  }

  private mutating func endBlock() throws {
    guard take(.blockEnd) else { throw failure("the block does not end here") }
  }

  // MARK: Statements

  /// Statements up to a block that ends or continues what is around them.
  private mutating func body() throws -> [TemplateStatement] {
    try nested { parser in
      var statements: [TemplateStatement] = []
      while true {
        switch parser.next {
        case .text(let text):
          parser.offset += 1
          statements.append(.text(text))
        case .outputStart:
          parser.offset += 1
          statements.append(.output(try parser.expression()))
          guard parser.take(.outputEnd) else { throw parser.failure("a }} is missing") }
        case .blockStart:
          guard let statement = try parser.block() else { return statements }
          statements.append(statement)
        default: return statements
        }
      }
    }
  }

  /// A block; nil, and nothing is read, if it belongs to one around it.
  private mutating func block() throws -> TemplateStatement? {
    guard let name = blockName else { throw failure("the name of a block is missing") }
    let enders = ["elif", "else"]
    if name.hasPrefix("end") || enders.contains(name) { return nil }
    offset += 2
    switch name {
    case "if": return try conditional()
    case "for": return try loop()
    case "set": return try set()
    case "macro": return try macro()
    case "call":
      let line = line
      let call = try expression()
      guard case .call = call.kind else {
        throw ChatTemplateError.syntax(line: line, reason: "the block call must call a macro")
      }
      try endBlock()
      let statements = try body()
      try end("endcall")
      return .call(call, body: statements)
    case "generation":
      try endBlock()
      let statements = try body()
      try end("endgeneration")
      return .group(statements)
    case "break", "continue":
      try endBlock()
      return name == "break" ? .breakLoop : .continueLoop
    case "do":
      let value = try expression()
      try endBlock()
      return .set([], value)
    default: throw failure("the block \(name) is not supported")
    }
  }

  /// Passes the block that ends another.
  private mutating func end(_ name: String) throws {
    guard blockName == name else { throw failure("the block \(name) is missing") }
    offset += 2
    try endBlock()
  }

  private mutating func conditional() throws -> TemplateStatement {
    var branches: [TemplateStatement.Branch] = []
    while true {
      let condition = try expression()
      try endBlock()
      branches.append(.init(condition: condition, body: try body()))
      guard blockName == "elif" else { break }
      offset += 2
    }
    var otherwise: [TemplateStatement] = []
    if blockName == "else" {
      try end("else")
      otherwise = try body()
    }
    try end("endif")
    return .conditional(branches, otherwise: otherwise)
  }

  private mutating func loop() throws -> TemplateStatement {
    let targets = try self.targets()
    guard takeName("in") else { throw failure("in is missing") }
    // A condition would be taken for a choice.
    let elements = try expression(allowsChoice: false)
    let condition = takeName("if") ? try expression() : nil
    guard !takeName("recursive") else { throw failure("recursive loops are not supported") }
    try endBlock()
    let statements = try body()
    var otherwise: [TemplateStatement] = []
    if blockName == "else" {
      try end("else")
      otherwise = try body()
    }
    try end("endfor")
    return .loop(
      .init(
        targets: targets, elements: elements, condition: condition, body: statements,
        otherwise: otherwise))
  }

  private mutating func targets() throws -> [TemplateTarget] {
    let isParenthesized = take("(")
    var targets: [TemplateTarget] = []
    repeat {
      let name = try name()
      targets.append(take(".") ? .member(of: name, try self.name()) : .variable(name))
    } while take(",")
    if isParenthesized { try require(")") }
    return targets
  }

  private mutating func set() throws -> TemplateStatement {
    let targets = try self.targets()
    if take("=") {
      let line = line
      var values = [try expression()]
      while take(",") { values.append(try expression()) }
      try endBlock()
      return .set(
        targets, values.count == 1 ? values[0] : try node(line, .list(values)))
    }
    guard targets.count == 1 else { throw failure("a = is missing") }
    try endBlock()
    let statements = try body()
    try end("endset")
    return .setBlock(targets[0], statements)
  }

  private mutating func macro() throws -> TemplateStatement {
    let name = try name()
    try require("(")
    var parameters: [(name: String, value: TemplateExpression?)] = []
    while !take(")") {
      let parameter = try self.name()
      parameters.append((parameter, take("=") ? try expression() : nil))
      guard next == .mark(")") || take(",") else { throw failure("a comma or ) is missing") }
    }
    try endBlock()
    let statements = try body()
    try end("endmacro")
    macros.append(TemplateMacro(name: name, parameters: parameters, body: statements))
    return .macro(macros.count - 1)
  }
}
