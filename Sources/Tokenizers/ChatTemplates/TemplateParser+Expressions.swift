extension TemplateParser {
  /// An expression, the loosest binding first: choice, or, and, not, comparison, sum, join, product, power, sign.
  mutating func expression(allowsChoice: Bool = true) throws -> TemplateExpression {
    try nested { parser in
      var value = try parser.disjunction()
      while allowsChoice, parser.next == .name("if") {
        let line = parser.line
        parser.offset += 1
        let condition = try parser.disjunction()
        let otherwise = parser.takeName("else") ? try parser.expression() : nil
        value = try parser.node(line, .choice(value, condition: condition, otherwise: otherwise))
      }
      return value
    }
  }

  private mutating func disjunction() throws -> TemplateExpression {
    var value = try conjunction()
    while next == .name("or") {
      let line = line
      offset += 1
      value = try node(line, .or(value, try conjunction()))
    }
    return value
  }

  private mutating func conjunction() throws -> TemplateExpression {
    var value = try negation()
    while next == .name("and") {
      let line = line
      offset += 1
      value = try node(line, .and(value, try negation()))
    }
    return value
  }

  private mutating func negation() throws -> TemplateExpression {
    guard next == .name("not") else { return try comparison() }
    let line = line
    offset += 1
    return try node(line, .not(try nested { try $0.negation() }))
  }

  private mutating func comparison() throws -> TemplateExpression {
    let line = line
    let first = try sum()
    var others: [(name: String, operand: TemplateExpression)] = []
    while let name = comparisonOperator() { others.append((name, try sum())) }
    return others.isEmpty ? first : try node(line, .comparison(first, others))
  }

  /// Reads an operator that compares; nil if there is none.
  private mutating func comparisonOperator() -> String? {
    for name in ["==", "!=", "<=", ">=", "<", ">"] where take(name) { return name }
    if takeName("in") { return "in" }
    let start = offset
    if takeName("not") {
      if takeName("in") { return "not in" }
      offset = start
    }
    return nil
  }

  private mutating func sum() throws -> TemplateExpression {
    try binary(["+", "-"]) { try $0.binary(["~"]) { try $0.product() } }
  }

  private mutating func product() throws -> TemplateExpression {
    try binary(["*", "/", "//", "%"]) { try $0.binary(["**"]) { try $0.signed() } }
  }

  /// Operands of operators that bind equally, from left to right.
  private mutating func binary(
    _ operators: [String], _ operand: (inout TemplateParser) throws -> TemplateExpression
  ) throws -> TemplateExpression {
    var value = try operand(&self)
    while let name = operators.first(where: { next == .mark($0) }) {
      let line = line
      offset += 1
      value = try node(line, .arithmetic(name, value, try operand(&self)))
    }
    return value
  }

  private mutating func signed(allowsFilters: Bool = true) throws -> TemplateExpression {
    let line = line
    var value: TemplateExpression
    if take("-") {
      value = try node(line, .negative(try nested { try $0.signed(allowsFilters: false) }))
    } else if take("+") {
      value = try nested { try $0.signed(allowsFilters: false) }
    } else {
      value = try postfixed(try primary())
    }
    return allowsFilters ? try filtered(value) : value
  }

  // MARK: Primaries

  private mutating func primary() throws -> TemplateExpression {
    let line = line
    let kind: TemplateExpression.Kind
    switch next {
    case .string(var text):
      offset += 1
      while case .string(let more) = next {
        text += more
        offset += 1
      }
      kind = .constant(.string(text))
    case .integer(let value):
      offset += 1
      kind = .constant(.integer(value))
    case .number(let value):
      offset += 1
      kind = .constant(.number(value))
    case .name(let name):
      offset += 1
      kind =
        switch name {
        case "true", "True": .constant(.bool(true))
        case "false", "False": .constant(.bool(false))
        case "none", "None": .constant(.none)
        default: .variable(name)
        }
    case .mark("("): return try parenthesized()
    case .mark("["):
      offset += 1
      kind = .list(try elements(end: "]"))
    case .mark("{"):
      offset += 1
      var members: [(key: TemplateExpression, value: TemplateExpression)] = []
      while !take("}") {
        let key = try expression()
        try require(":")
        members.append((key, try expression()))
        guard next == .mark("}") || take(",") else { throw failure("a comma or } is missing") }
      }
      kind = .object(members)
    default: throw failure("a value is missing")
    }
    return try node(line, kind)
  }

  /// An expression in parentheses, or a tuple, which is a list.
  private mutating func parenthesized() throws -> TemplateExpression {
    let line = line
    offset += 1
    if take(")") { return try node(line, .list([])) }
    let first = try expression()
    if take(")") { return first }
    try require(",")
    return try node(line, .list([first] + (try elements(end: ")"))))
  }

  private mutating func elements(end: String) throws -> [TemplateExpression] {
    var values: [TemplateExpression] = []
    while !take(end) {
      values.append(try expression())
      guard next == .mark(end) || take(",") else { throw failure("a comma or \(end) is missing") }
    }
    return values
  }

  // MARK: What follows a value

  private mutating func postfixed(_ value: TemplateExpression) throws -> TemplateExpression {
    var value = value
    while true {
      let line = line
      if take(".") {
        if case .integer(let index) = next {
          offset += 1
          let place = try node(line, .constant(.integer(index)))
          value = try node(line, .element(value, place))
        } else {
          value = try node(line, .member(value, try name()))
        }
      } else if take("[") {
        value = try node(line, try element(of: value))
      } else if next == .mark("(") {
        value = try node(line, .call(value, try arguments()))
      } else {
        return value
      }
    }
  }

  /// An index or a slice, up to the bracket.
  private mutating func element(of value: TemplateExpression) throws -> TemplateExpression.Kind {
    var bounds: [TemplateExpression?] = [nil]
    while true {
      if take("]") { break }
      if take(":") {
        bounds.append(nil)
        guard bounds.count <= 3 else { throw failure("a slice has more than three parts") }
      } else {
        guard bounds[bounds.count - 1] == nil else { throw failure("a ] is missing") }
        bounds[bounds.count - 1] = try expression()
      }
    }
    if bounds.count == 1 {
      guard let index = bounds[0] else { throw failure("an index is missing") }
      return .element(value, index)
    }
    return .slice(value, bounds[0], bounds[1], bounds.count > 2 ? bounds[2] : nil)
  }

  private mutating func arguments() throws -> TemplateArguments {
    try require("(")
    var arguments = TemplateArguments()
    while !take(")") {
      if arguments.rest == nil, take("*") {
        arguments.rest = try expression()
      } else if case .name(let name) = next {
        let start = offset
        offset += 1
        if take("=") {
          arguments.named.append((name, try expression()))
        } else {
          offset = start
          arguments.values.append(try expression())
        }
      } else {
        arguments.values.append(try expression())
      }
      guard next == .mark(")") || take(",") else { throw failure("a comma or ) is missing") }
    }
    return arguments
  }

  /// Filters and tests that follow a value.
  private mutating func filtered(_ value: TemplateExpression) throws -> TemplateExpression {
    var value = value
    while true {
      let line = line
      if take("|") {
        let name = try self.name()
        guard TemplateFilters.names.contains(name) else {
          throw failure("the filter \(name) is not supported")
        }
        let arguments = next == .mark("(") ? try arguments() : TemplateArguments()
        value = try node(line, .filter(value, name, arguments))
      } else if takeName("is") {
        let isNegated = takeName("not")
        let name = try self.name()
        guard TemplateTests.names.contains(name) else {
          throw failure("the test \(name) is not supported")
        }
        var arguments = TemplateArguments()
        if next == .mark("(") {
          arguments = try self.arguments()
        } else if beginsOperand {
          arguments.values = [try postfixed(try primary())]
        }
        value = try node(line, .test(value, name, arguments))
        if isNegated { value = try node(line, .not(value)) }
      } else if next == .mark("(") {
        value = try node(line, .call(value, try arguments()))
      } else {
        return value
      }
    }
  }

  /// Whether the argument of a test without parentheses comes next.
  private var beginsOperand: Bool {
    switch next {
    case .string, .integer, .number, .mark("["), .mark("{"): true
    case .name(let name): !["else", "or", "and", "is", "if", "in", "not"].contains(name)
    default: false
    }
  }
}
