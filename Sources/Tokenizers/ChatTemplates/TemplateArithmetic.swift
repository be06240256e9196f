/// Operators of two operands.
enum TemplateArithmetic {
  /// How many elements of a repeated list, or bytes of a repeated string, there may be.
  private static let mostRepeated = 1 << 24

  static func apply(
    _ name: String, _ left: TemplateValue, _ right: TemplateValue,
    _ interpreter: inout TemplateInterpreter, line: Int
  ) throws -> TemplateValue {
    switch (name, left, right) {
    case ("~", _, _):
      let (first, second) = (try interpreter.text(of: left), try interpreter.text(of: right))
      return try joined(first, second, &interpreter)
    case ("+", .string(let a), .string(let b)): return try joined(a, b, &interpreter)
    case ("+", .list(let a), .list(let b)):
      try interpreter.count(a.count + b.count)
      return .list(a + b)
    case ("*", .string(let text), _) where right.integer != nil:
      return .string(
        String(repeating: text, count: try times(right, text.utf8.count, &interpreter)))
    case ("*", .list(let values), _) where right.integer != nil:
      let count = try times(right, values.count, &interpreter)
      return .list((0..<count).flatMap { _ in values })
    case ("%", .string(let format), _):
      return .string(try formatted(format, right, &interpreter, line: line))
    default: break
    }
    if let a = left.integer, let b = right.integer,
      let result = try whole(name, a, b, interpreter, line: line)
    {
      return result
    }
    guard let a = left.number, let b = right.number else {
      throw interpreter.failure(line, "\(name) cannot be used with \(left.kind) and \(right.kind)")
    }
    return try real(name, a, b, interpreter, line: line)
  }

  private static func joined(
    _ a: String, _ b: String, _ interpreter: inout TemplateInterpreter
  ) throws -> TemplateValue {
    let text = a + b
    try interpreter.countText(text)
    return .string(text)
  }

  /// How often something of a size is repeated.
  private static func times(
    _ count: TemplateValue, _ size: Int, _ interpreter: inout TemplateInterpreter
  ) throws -> Int {
    let count = max(0, count.integer ?? 0)
    let (total, isTooLarge) = count.multipliedReportingOverflow(by: max(size, 1))
    guard !isTooLarge, total <= mostRepeated else {
      throw ChatTemplateError.tooLong(limit: mostRepeated)
    }
    try interpreter.count(total)
    return count
  }

  /// Arithmetic of whole numbers; nil if the result is none.
  private static func whole(
    _ name: String, _ a: Int, _ b: Int, _ interpreter: TemplateInterpreter, line: Int
  ) throws -> TemplateValue? {
    var result: (partialValue: Int, overflow: Bool)
    switch name {
    case "+": result = a.addingReportingOverflow(b)
    case "-": result = a.subtractingReportingOverflow(b)
    case "*": result = a.multipliedReportingOverflow(by: b)
    case "//", "%":
      guard b != 0 else { throw interpreter.failure(line, "division by zero") }
      guard b != -1 else {
        result = name == "%" ? (0, false) : Int(0).subtractingReportingOverflow(a)
        break
      }
      // Python rounds down, and the remainder has the divisor's sign.
      let (quotient, remainder) = a.quotientAndRemainder(dividingBy: b)
      let isBelow = remainder != 0 && (remainder < 0) != (b < 0)
      let value = name == "%" ? remainder + (isBelow ? b : 0) : quotient - (isBelow ? 1 : 0)
      result = (value, false)
    case "**" where b >= 0:
      result = (1, false)
      let mostFactors = 64
      guard abs(a) < 2 || b <= mostFactors else {
        result.overflow = true
        break
      }
      for _ in 0..<(abs(a) < 2 ? b & 1 == 0 ? min(b, 2) : 1 : b) where !result.overflow {
        result = result.partialValue.multipliedReportingOverflow(by: a)
      }
    default: return nil
    }
    guard !result.overflow else { throw interpreter.failure(line, "a number is too large") }
    return .integer(result.partialValue)
  }

  private static func real(
    _ name: String, _ a: Double, _ b: Double, _ interpreter: TemplateInterpreter, line: Int
  ) throws -> TemplateValue {
    if b == 0, name == "/" || name == "//" || name == "%" {
      throw interpreter.failure(line, "division by zero")
    }
    let floored = (a / b).rounded(.down)
    switch name {
    case "+": return .number(a + b)
    case "-": return .number(a - b)
    case "*": return .number(a * b)
    case "/": return .number(a / b)
    case "//": return .number(floored)
    case "%": return .number(a - floored * b)
    default: throw interpreter.failure(line, "powers of floats are not supported")
    }
  }

  /// `format % value`, with `%s`, `%d` and `%%`.
  private static func formatted(
    _ format: String, _ value: TemplateValue, _ interpreter: inout TemplateInterpreter, line: Int
  ) throws -> String {
    var values: [TemplateValue] = [value]
    if case .list(let several) = value { values = several }
    var result = ""
    var rest = format.unicodeScalars[...]
    while let scalar = rest.popFirst() {
      guard scalar == "%" else {
        result.unicodeScalars.append(scalar)
        continue
      }
      switch rest.popFirst() {
      case "%": result += "%"
      case "s" where !values.isEmpty: result += try interpreter.text(of: values.removeFirst())
      case "d" where values.first?.integer != nil: result += "\(values.removeFirst().integer ?? 0)"
      default: throw interpreter.failure(line, "this format is not supported: \(format)")
      }
    }
    guard values.isEmpty else { throw interpreter.failure(line, "the format has too few places") }
    return result
  }
}
