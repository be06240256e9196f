/// Tests, which follow `is`.
enum TemplateTests {
  static let names: Set = [
    "defined", "undefined", "none", "string", "number", "integer", "float", "boolean", "true",
    "false", "mapping", "iterable", "sequence", "callable", "odd", "even", "divisibleby", "equalto",
    "eq", "ne", "lt", "le", "gt", "ge", "in", "lower", "upper", "sameas",
  ]

  private static let comparisons = [
    "equalto": "==", "eq": "==", "sameas": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">",
    "ge": ">=", "in": "in",
  ]

  static func holds(
    _ name: String, for value: TemplateValue, _ arguments: [TemplateValue],
    _ interpreter: TemplateInterpreter, line: Int
  ) throws -> Bool {
    if let comparison = comparisons[name] {
      guard let other = arguments.first else {
        throw interpreter.failure(line, "the test \(name) takes a value")
      }
      return try interpreter.compare(value, comparison, other, line: line)
    }
    switch (name, value) {
    case ("defined", _): return !value.isUndefined
    case ("undefined", _): return value.isUndefined
    case ("none", _): return value.isNone
    case ("string", .string), ("integer", .integer), ("float", .number), ("boolean", .bool),
      ("mapping", .object), ("callable", .function):
      return true
    case ("number", _): return value.number != nil
    case ("true", .bool(let flag)): return flag
    case ("false", .bool(let flag)): return !flag
    case ("iterable", .string), ("iterable", .list), ("iterable", .object),
      ("iterable", .undefined),
      ("sequence", .string), ("sequence", .list), ("sequence", .object), ("sequence", .undefined):
      return true
    case ("lower", .string(let text)): return TextCase.isLower(text)
    case ("upper", .string(let text)): return TextCase.isUpper(text)
    case ("odd", _), ("even", _), ("divisibleby", _):
      let divisor = name == "divisibleby" ? arguments.first?.integer : 2
      guard let number = value.integer, let divisor, divisor != 0 else {
        throw interpreter.failure(line, "the test \(name) is of ints")
      }
      return (number % divisor == 0) != (name == "odd")
    default: return false
    }
  }
}

/// Cases of letters, as Python has them.
enum TextCase {
  static func isLower(_ text: String) -> Bool {
    hasCase(text) && !text.unicodeScalars.contains { $0.properties.isUppercase }
  }

  static func isUpper(_ text: String) -> Bool {
    hasCase(text) && !text.unicodeScalars.contains { $0.properties.isLowercase }
  }

  private static func hasCase(_ text: String) -> Bool {
    text.unicodeScalars.contains { $0.properties.isUppercase || $0.properties.isLowercase }
  }

  /// The first letter as a capital, the others small.
  static func capitalized(_ text: String) -> String {
    guard let first = text.unicodeScalars.first else { return text }
    return first.properties.titlecaseMapping
      + String(String.UnicodeScalarView(text.unicodeScalars.dropFirst())).lowercased()
  }

  /// Words with a capital first letter; words begin after what is no letter.
  static func titled(_ text: String, startsWord: (Unicode.Scalar) -> Bool) -> String {
    var result = ""
    var isInside = false
    for scalar in text.unicodeScalars {
      let properties = scalar.properties
      result += isInside ? properties.lowercaseMapping : properties.titlecaseMapping
      isInside = !startsWord(scalar)
    }
    return result
  }
}
