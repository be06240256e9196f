/// Functions that every template has.
enum TemplateFunctions {
  static let names: Set = ["range", "namespace", "dict", "raise_exception", clock]

  /// The function that formats the time.
  static let clock = "strftime_now"

  static func call(
    _ name: String, _ arguments: TemplateCallArguments,
    _ interpreter: inout TemplateInterpreter, line: Int
  ) throws -> TemplateValue {
    switch name {
    case "range": return try range(arguments.values, &interpreter, line: line)
    case "namespace":
      interpreter.namespaces.append(try object(arguments, interpreter, line: line))
      try interpreter.count()
      return .namespace(interpreter.namespaces.count - 1)
    case "dict":
      return try interpreter.checked(
        .object(try object(arguments, interpreter, line: line)), line: line)
    case "raise_exception":
      throw ChatTemplateError.refused(arguments.value(0, "message")?.text ?? "")
    default:
      guard let formattedTime = interpreter.formattedTime else {
        throw interpreter.failure(line, "\(name) needs a time, and none was given")
      }
      guard case .string(let format)? = arguments.value(0, "format") else {
        throw interpreter.failure(line, "strftime_now takes a format")
      }
      return .string(formattedTime(format))
    }
  }

  private static func object(
    _ arguments: TemplateCallArguments, _ interpreter: TemplateInterpreter, line: Int
  ) throws -> TemplateObject {
    var result = TemplateObject()
    if let first = arguments.values.first {
      guard case .object(let object) = first else {
        throw interpreter.failure(line, "\(first.kind) is no dict")
      }
      result = object
    }
    for (name, value) in arguments.named.members { result[name] = value }
    return result
  }

  private static func range(
    _ values: [TemplateValue], _ interpreter: inout TemplateInterpreter, line: Int
  ) throws -> TemplateValue {
    let numbers = values.compactMap(\.integer)
    guard numbers.count == values.count, (1...3).contains(numbers.count) else {
      throw interpreter.failure(line, "range takes one to three ints")
    }
    let start = numbers.count == 1 ? 0 : numbers[0]
    let end = numbers.count == 1 ? numbers[0] : numbers[1]
    let step = numbers.count == 3 ? numbers[2] : 1
    guard step != 0 else { throw interpreter.failure(line, "the step of range is 0") }
    var elements: [TemplateValue] = []
    var place = start
    while step > 0 ? place < end : place > end {
      try interpreter.count()
      elements.append(.integer(place))
      let (next, isTooLarge) = place.addingReportingOverflow(step)
      if isTooLarge { break }
      place = next
    }
    return .list(elements)
  }
}
