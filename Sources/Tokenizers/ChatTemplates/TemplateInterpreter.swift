/// Renders a template.
struct TemplateInterpreter {
  /// How a body of statements ended.
  enum Ending {
    case finished, broken, continued
  }

  let macros: [TemplateMacro]
  /// Variables, the innermost scope last.
  var scopes: [[String: TemplateValue]]
  var namespaces: [TemplateObject] = []
  /// The statements of `call` blocks that are running, with the variables around them.
  private var callers: [(body: [TemplateStatement], scopes: [[String: TemplateValue]])] = []
  /// What `strftime_now(format)` gives; nil refuses it.
  let formattedTime: (@Sendable (String) -> String)?
  private var steps = 0
  private let mostSteps: Int
  private var depth = 0

  /// Calls of macros inside of each other.
  private static let depthLimit = 50
  /// How many bytes of text count as a step.
  private static let bytesPerStep = 16

  init(
    macros: [TemplateMacro], variables: [String: TemplateValue], mostSteps: Int,
    formattedTime: (@Sendable (String) -> String)?
  ) {
    self.macros = macros
    self.mostSteps = mostSteps
    self.formattedTime = formattedTime
    scopes = [variables]
  }

  /// Counts steps, also for text and lists that are made.
  mutating func count(_ steps: Int = 1) throws {
    self.steps += min(max(steps, 0), mostSteps) + 1
    guard self.steps <= mostSteps else { throw ChatTemplateError.tooLong(limit: mostSteps) }
  }

  mutating func countText(_ text: String) throws { try countText(bytes: text.utf8.count) }

  /// Counts text before it is made.
  mutating func countText(bytes: Int) throws { try count(bytes / Self.bytesPerStep) }

  /// The text of a value, counted before it is made.
  mutating func text(of value: TemplateValue) throws -> String {
    try countParts(of: value)
    return value.text
  }

  /// Counts what a value is written as, with an indentation for each level.
  mutating func countParts(of value: TemplateValue, indent: Int = 0, level: Int = 1) throws {
    try countText(bytes: indent * level)
    switch value {
    case .string(let text): try countText(text)
    case .list(let values):
      for value in values { try countParts(of: value, indent: indent, level: level + 1) }
    case .object(let object):
      for member in object.members {
        try countText(member.key)
        try countParts(of: member.value, indent: indent, level: level + 1)
      }
    default: break
    }
  }

  func failure(_ line: Int, _ reason: String) -> ChatTemplateError {
    .evaluation(line: line, reason: reason)
  }

  // MARK: Variables

  func variable(_ name: String) -> TemplateValue {
    for scope in scopes.reversed() {
      if let value = scope[name] { return value }
    }
    let isKnown = TemplateFunctions.names.contains(name)
    // Templates ask whether there is a clock.
    guard isKnown, name != TemplateFunctions.clock || formattedTime != nil else {
      return .undefined(name)
    }
    return .function(.global(name))
  }

  mutating func assign(_ value: TemplateValue, to target: TemplateTarget, line: Int) throws {
    switch target {
    case .variable(let name): scopes[scopes.count - 1][name] = value
    case .member(let name, let member):
      guard case .namespace(let number) = variable(name) else {
        throw failure(
          line, "\(name) is \(variable(name).kind); only members of a namespace can be set")
      }
      namespaces[number][member] = value
    }
  }

  /// Assigns one value to one target, or its elements to as many.
  mutating func assign(_ value: TemplateValue, to targets: [TemplateTarget], line: Int) throws {
    guard targets.count > 1 else {
      for target in targets { try assign(value, to: target, line: line) }
      return
    }
    let values = try elements(of: value, line: line)
    guard values.count == targets.count else {
      throw failure(line, "\(values.count) values cannot be assigned to \(targets.count) names")
    }
    for (target, value) in zip(targets, values) { try assign(value, to: target, line: line) }
  }

  // MARK: Statements

  mutating func run(_ statements: [TemplateStatement], into output: inout String) throws -> Ending {
    for statement in statements {
      try count()
      switch statement {
      case .text(let text):
        try countText(text)
        output += text
      case .output(let expression):
        output += try text(of: evaluate(expression))
      case .conditional(let branches, let otherwise):
        var body = otherwise
        for branch in branches where try evaluate(branch.condition).isTrue {
          body = branch.body
          break
        }
        let ending = try run(body, into: &output)
        if ending != .finished { return ending }
      case .loop(let loop): try run(loop, into: &output)
      case .set(let targets, let expression):
        try assign(try evaluate(expression), to: targets, line: expression.line)
      case .setBlock(let target, let body):
        var text = ""
        scopes.append([:])
        _ = try run(body, into: &text)
        scopes.removeLast()
        try assign(.string(text), to: target, line: 0)
      case .macro(let number):
        scopes[scopes.count - 1][macros[number].name] = .function(.macro(number))
      case .group(let body):
        let ending = try run(body, into: &output)
        if ending != .finished { return ending }
      case .call(let expression, let body):
        let text = try call(expression, with: body).text
        try countText(text)
        output += text
      case .breakLoop: return .broken
      case .continueLoop: return .continued
      }
    }
    return .finished
  }

  private mutating func run(_ loop: TemplateStatement.Loop, into output: inout String) throws {
    let line = loop.elements.line
    var elements = try self.elements(of: evaluate(loop.elements), line: line)
    if let condition = loop.condition {
      var kept: [TemplateValue] = []
      for element in elements {
        scopes.append([:])
        try assign(element, to: loop.targets, line: line)
        if try evaluate(condition).isTrue { kept.append(element) }
        scopes.removeLast()
      }
      elements = kept
    }
    guard !elements.isEmpty else {
      _ = try run(loop.otherwise, into: &output)
      return
    }
    let count = elements.count
    for (index, element) in elements.enumerated() {
      var state = TemplateObject()
      state["index0"] = .integer(index)
      state["index"] = .integer(index + 1)
      state["revindex0"] = .integer(count - index - 1)
      state["revindex"] = .integer(count - index)
      state["first"] = .bool(index == 0)
      state["last"] = .bool(index == count - 1)
      state["length"] = .integer(count)
      state["depth"] = .integer(1)
      state["previtem"] = index > 0 ? elements[index - 1] : .undefined("loop.previtem")
      state["nextitem"] = index + 1 < count ? elements[index + 1] : .undefined("loop.nextitem")
      scopes.append(["loop": .object(state)])
      try assign(element, to: loop.targets, line: line)
      let ending = try run(loop.body, into: &output)
      scopes.removeLast()
      if ending == .broken { break }
    }
  }

  /// What a call of a macro gives that may call `body` back.
  private mutating func call(
    _ expression: TemplateExpression, with body: [TemplateStatement]
  ) throws -> TemplateValue {
    guard case .call(let function, let arguments) = expression.kind,
      case .function(.macro(let number)) = try evaluate(function)
    else { throw failure(expression.line, "the block call must call a macro") }
    var values = try evaluate(arguments)
    callers.append((body, scopes))
    defer { callers.removeLast() }
    values.named["caller"] = .function(.caller(callers.count - 1))
    return try call(number, values, line: expression.line)
  }

  /// The text of the statements of a `call` block.
  mutating func callBack(_ number: Int) throws -> TemplateValue {
    guard callers.indices.contains(number) else { return .string("") }
    let outer = scopes
    scopes = callers[number].scopes + [[:]]
    defer { scopes = outer }
    var text = ""
    _ = try run(callers[number].body, into: &text)
    return .string(text)
  }

  /// The text that a macro gives.
  mutating func call(_ number: Int, _ arguments: TemplateCallArguments, line: Int) throws
    -> TemplateValue
  {
    let macro = macros[number]
    depth += 1
    defer { depth -= 1 }
    guard depth <= Self.depthLimit else {
      throw failure(line, "more than \(Self.depthLimit) macros call each other")
    }
    guard arguments.values.count <= macro.parameters.count else {
      throw failure(line, "the macro \(macro.name) takes \(macro.parameters.count) arguments")
    }
    // A macro sees the variables of the template, not those of its caller.
    let outer = scopes
    scopes = [outer[0], [:]]
    defer { scopes = outer }
    for (index, parameter) in macro.parameters.enumerated() {
      let value: TemplateValue
      if index < arguments.values.count {
        value = arguments.values[index]
      } else if let given = arguments.named[parameter.name] {
        value = given
      } else {
        value = try parameter.value.map { try evaluate($0) } ?? .undefined(parameter.name)
      }
      scopes[1][parameter.name] = value
    }
    scopes[1]["caller"] = arguments.named["caller"]
    var text = ""
    _ = try run(macro.body, into: &text)
    return .string(text)
  }
}

/// The values of a call's arguments.
struct TemplateCallArguments {
  var values: [TemplateValue] = []
  /// In their order.
  var named = TemplateObject()

  /// The argument at a place, or of a name.
  func value(_ index: Int, _ name: String) -> TemplateValue? {
    index < values.count ? values[index] : named[name]
  }
}
