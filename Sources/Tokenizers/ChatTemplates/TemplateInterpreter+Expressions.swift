extension TemplateInterpreter {
  mutating func evaluate(_ expression: TemplateExpression) throws -> TemplateValue {
    try count()
    let line = expression.line
    switch expression.kind {
    case .constant(let value): return value
    case .variable(let name): return variable(name)
    case .list(let values):
      return try checked(.list(try values.map { try evaluate($0) }), line: line)
    case .object(let members):
      var object = TemplateObject()
      for member in members {
        guard case .string(let key) = try evaluate(member.key) else {
          throw failure(line, "only strings are supported as keys")
        }
        object[key] = try evaluate(member.value)
      }
      return try checked(.object(object), line: line)
    case .member(let value, let name): return try member(name, of: evaluate(value), line: line)
    case .element(let value, let index):
      return try element(evaluate(index), of: evaluate(value), line: line)
    case .slice(let value, let start, let end, let step):
      return try slice(
        evaluate(value), bounds: [start, end, step].map { try $0.map { try evaluate($0) } },
        line: line)
    case .call(let function, let arguments):
      return try call(try evaluate(function), try evaluate(arguments), line: line)
    case .filter(let value, let name, let arguments):
      return try TemplateFilters.apply(
        name, to: try evaluate(value), try evaluate(arguments), &self, line: line)
    case .test(let value, let name, let arguments):
      return .bool(
        try TemplateTests.holds(
          name, for: try evaluate(value), try evaluate(arguments).values, self, line: line))
    case .not(let value): return .bool(!(try evaluate(value).isTrue))
    case .negative(let value):
      switch try evaluate(value) {
      case .number(let number): return .number(-number)
      case let value:
        guard let number = value.integer else {
          throw failure(line, "- cannot be used with \(value.kind)")
        }
        return .integer(0 &- number)
      }
    case .and(let first, let second):
      let value = try evaluate(first)
      return value.isTrue ? try evaluate(second) : value
    case .or(let first, let second):
      let value = try evaluate(first)
      return value.isTrue ? value : try evaluate(second)
    case .comparison(let first, let others):
      var left = try evaluate(first)
      for (name, operand) in others {
        let right = try evaluate(operand)
        guard try compare(left, name, right, line: line) else { return .bool(false) }
        left = right
      }
      return .bool(true)
    case .arithmetic(let name, let first, let second):
      let (left, right) = (try evaluate(first), try evaluate(second))
      return try TemplateArithmetic.apply(name, left, right, &self, line: line)
    case .choice(let value, let condition, let otherwise):
      if try evaluate(condition).isTrue { return try evaluate(value) }
      return try otherwise.map { try evaluate($0) } ?? .undefined("a choice without else")
    }
  }

  mutating func evaluate(_ arguments: TemplateArguments) throws -> TemplateCallArguments {
    var result = TemplateCallArguments()
    for value in arguments.values { result.values.append(try evaluate(value)) }
    if let rest = arguments.rest {
      result.values += try elements(of: evaluate(rest), line: rest.line)
    }
    for argument in arguments.named { result.named[argument.name] = try evaluate(argument.value) }
    return result
  }

  /// `value`, which was made of others.
  ///
  /// - Throws: ``ChatTemplateError/evaluation(line:reason:)`` if more lists lie inside each other than could be written.
  mutating func checked(_ value: TemplateValue, line: Int) throws -> TemplateValue {
    let most = 100
    func check(_ value: TemplateValue, _ depth: Int) throws {
      guard depth <= most else {
        throw failure(line, "more than \(most) lists and dicts lie inside each other")
      }
      switch value {
      case .list(let values):
        try count(values.count)
        for value in values { try check(value, depth + 1) }
      case .object(let object):
        try count(object.members.count)
        for member in object.members { try check(member.value, depth + 1) }
      default: break
      }
    }
    try check(value, 0)
    return value
  }

  // MARK: Calls and members

  mutating func call(
    _ function: TemplateValue, _ arguments: TemplateCallArguments, line: Int
  ) throws -> TemplateValue {
    switch function {
    case .function(.macro(let number)): return try call(number, arguments, line: line)
    case .function(.caller(let number)): return try callBack(number)
    case .function(.global(let name)):
      return try TemplateFunctions.call(name, arguments, &self, line: line)
    case .function(.method(let name, let value)):
      return try TemplateMethods.call(name, of: value, arguments, &self, line: line)
    default: throw failure(line, "\(function.kind) cannot be called")
    }
  }

  /// `value.name`: a method, or a member.
  func member(_ name: String, of value: TemplateValue, line: Int) throws -> TemplateValue {
    switch value {
    case .undefined(let owner): throw failure(line, "\(owner) is undefined and has no \(name)")
    case .namespace(let number): return namespaces[number][name] ?? .undefined(name)
    default: break
    }
    if TemplateMethods.has(name, value) { return .function(.method(name, of: value)) }
    if case .object(let object) = value { return object[name] ?? .undefined(name) }
    return .undefined(name)
  }

  /// `value[index]`
  func element(_ index: TemplateValue, of value: TemplateValue, line: Int) throws -> TemplateValue {
    switch (value, index) {
    case (.undefined(let name), _):
      throw failure(line, "\(name) is undefined and has no \(index.representation)")
    case (.object(let object), .string(let key)):
      return try object[key] ?? member(key, of: value, line: line)
    case (.list(let values), _):
      guard let place = index.integer.map({ $0 < 0 ? $0 + values.count : $0 }),
        values.indices.contains(place)
      else { return .undefined("element \(index.representation)") }
      return values[place]
    case (.string(let text), _) where index.integer != nil:
      let scalars = Array(text.unicodeScalars)
      let place = index.integer.map { $0 < 0 ? $0 + scalars.count : $0 } ?? -1
      guard scalars.indices.contains(place) else {
        return .undefined("character \(index.representation)")
      }
      return .string(String(Character(scalars[place])))
    case (_, .string(let name)): return try member(name, of: value, line: line)
    default: return .undefined("element \(index.representation)")
    }
  }

  private func slice(
    _ value: TemplateValue, bounds: [TemplateValue?], line: Int
  ) throws -> TemplateValue {
    let numbers = try bounds.map { bound -> Int? in
      guard let bound, case let bound = bound, !bound.isNone else { return nil }
      guard let number = bound.integer else {
        throw failure(line, "a bound of a slice is \(bound.kind); it must be an int")
      }
      return number
    }
    let step = numbers[2] ?? 1
    guard step != 0 else { throw failure(line, "the step of a slice is 0") }
    func places(_ count: Int) -> [Int] {
      let limits = step > 0 ? 0...count : -1...count - 1
      func place(_ number: Int?, otherwise: Int) -> Int {
        guard let number else { return otherwise }
        let place = number < 0 ? max(number, -count - 1) + count : number
        return min(max(place, limits.lowerBound), limits.upperBound)
      }
      let start = place(numbers[0], otherwise: step > 0 ? 0 : count - 1)
      let end = place(numbers[1], otherwise: step > 0 ? count : -1)
      return Array(stride(from: start, to: end, by: max(min(step, count + 1), -count - 1)))
    }
    switch value {
    case .list(let values): return .list(places(values.count).map { values[$0] })
    case .string(let text):
      let scalars = Array(text.unicodeScalars)
      return .string(String(String.UnicodeScalarView(places(scalars.count).map { scalars[$0] })))
    default: throw failure(line, "\(value.kind) cannot be sliced")
    }
  }

  // MARK: Comparison and iteration

  func compare(
    _ left: TemplateValue, _ name: String, _ right: TemplateValue, line: Int
  ) throws -> Bool {
    switch name {
    case "==": return left == right
    case "!=": return left != right
    case "in": return try contains(left, in: right, line: line)
    case "not in": return try !contains(left, in: right, line: line)
    default:
      guard let isLess = left.isLess(than: right), let isMore = right.isLess(than: left) else {
        throw failure(line, "\(left.kind) cannot be compared with \(right.kind)")
      }
      return switch name {
      case "<": isLess
      case ">": isMore
      case "<=": isLess || left == right
      default: isMore || left == right
      }
    }
  }

  func contains(_ element: TemplateValue, in container: TemplateValue, line: Int) throws -> Bool {
    switch (container, element) {
    case (.string(let text), .string(let part)):
      return part.isEmpty || Splitter.contains(Array(text.utf8), Array(part.utf8))
    case (.list(let values), _): return values.contains(element)
    case (.object(let object), .string(let key)): return object[key] != nil
    case (.object, _), (.undefined, _): return false
    default: throw failure(line, "\(element.kind) cannot be in \(container.kind)")
    }
  }

  /// What a loop over a value gives.
  mutating func elements(of value: TemplateValue, line: Int) throws -> [TemplateValue] {
    let elements: [TemplateValue]
    switch value {
    case .list(let values): elements = values
    case .object(let object): elements = object.members.map { .string($0.key) }
    case .string(let text): elements = text.unicodeScalars.map { .string(String(Character($0))) }
    case .undefined: elements = []
    default: throw failure(line, "\(value.kind) has no elements")
    }
    try count(elements.count)
    return elements
  }
}

extension TemplateValue {
  var isNone: Bool { if case .none = self { true } else { false } }

  /// Whether the value is ordered before another; nil if they have no order.
  func isLess(than other: TemplateValue) -> Bool? {
    switch (self, other) {
    case (.string(let a), .string(let b)):
      return a.unicodeScalars.lexicographicallyPrecedes(b.unicodeScalars)
    case (.list(let a), .list(let b)):
      for (first, second) in zip(a, b) where first != second { return first.isLess(than: second) }
      return a.count < b.count
    default:
      if let a = integer, let b = other.integer { return a < b }
      guard let a = number, let b = other.number else { return nil }
      return a < b
    }
  }
}
