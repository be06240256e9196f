/// Filters, which follow `|`.
enum TemplateFilters {
  static let names: Set = [
    "abs", "bool", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first",
    "float", "indent", "int", "items", "join", "last", "length", "list", "lower", "map", "max",
    "min", "reject", "rejectattr", "replace", "reverse", "round", "safe", "select", "selectattr",
    "sort", "string", "sum", "title", "tojson", "trim", "unique", "upper",
  ]

  static func apply(
    _ name: String, to value: TemplateValue, _ arguments: TemplateCallArguments,
    _ interpreter: inout TemplateInterpreter, line: Int
  ) throws -> TemplateValue {
    if case .string(let text) = value { try interpreter.countText(text) }
    switch name {
    case "trim", "upper", "lower", "title", "capitalize", "replace", "indent", "string", "safe",
      "e", "escape":
      return try text(name, interpreter.text(of: value), arguments, &interpreter, line: line)
    case "default", "d":
      let isReplaced =
        value.isUndefined || arguments.value(1, "boolean")?.isTrue == true && !value.isTrue
      return isReplaced ? arguments.value(0, "default_value") ?? .string("") : value
    case "tojson": return try json(value, arguments, &interpreter, line: line)
    case "int":
      return .integer(TemplateNumbers.whole(value) ?? arguments.value(0, "default")?.integer ?? 0)
    case "float":
      return .number(TemplateNumbers.real(value) ?? arguments.value(0, "default")?.number ?? 0)
    case "bool": return .bool(value.isTrue)
    case "abs":
      if let number = value.integer { return .integer(number == .min ? .max : abs(number)) }
      guard let number = value.number else { throw unusable(name, value, interpreter, line) }
      return .number(abs(number))
    case "round":
      guard let number = value.number else { throw unusable(name, value, interpreter, line) }
      return .number(TemplateNumbers.rounded(number, arguments))
    case "length", "count":
      switch value {
      case .string(let text): return .integer(text.unicodeScalars.count)
      case .list(let values): return .integer(values.count)
      case .object(let object): return .integer(object.members.count)
      case .undefined: return .integer(0)
      default: throw unusable(name, value, interpreter, line)
      }
    case "items", "dictsort":
      guard case .object(let object) = value else {
        if value.isUndefined { return .list([]) }
        throw unusable(name, value, interpreter, line)
      }
      var members = object.members
      if name == "dictsort" {
        members.sort { $0.key.lowercased() < $1.key.lowercased() }
      }
      return .list(members.map { .list([.string($0.key), $0.value]) })
    default:
      return try TemplateListFilters.apply(name, to: value, arguments, &interpreter, line: line)
    }
  }

  static func unusable(
    _ name: String, _ value: TemplateValue, _ interpreter: TemplateInterpreter, _ line: Int
  ) -> ChatTemplateError {
    interpreter.failure(line, "the filter \(name) cannot be used with \(value.kind)")
  }

  private static func text(
    _ name: String, _ text: String, _ arguments: TemplateCallArguments,
    _ interpreter: inout TemplateInterpreter, line: Int
  ) throws -> TemplateValue {
    switch name {
    case "trim":
      let set = arguments.value(0, "chars").flatMap { $0.isNone ? nil : $0.text }
      return .string(TemplateText.stripped(text, of: set, left: true, right: true))
    case "upper": return .string(text.uppercased())
    case "lower": return .string(text.lowercased())
    case "title":
      return .string(
        TextCase.titled(text) { TemplateText.isSpace($0) || "-([{<".unicodeScalars.contains($0) })
    case "capitalize": return .string(TextCase.capitalized(text))
    case "replace":
      return .string(
        try TemplateText.replacing(
          text, arguments.value(0, "old")?.text ?? "",
          with: arguments.value(1, "new")?.text ?? "",
          most: arguments.value(2, "count")?.integer.flatMap { $0 < 0 ? nil : $0 } ?? .max,
          &interpreter))
    case "indent": return .string(try indented(text, arguments, &interpreter))
    case "e", "escape": return .string(escaped(text))
    default: return .string(text)
    }
  }

  /// For HTML.
  private static func escaped(_ text: String) -> String {
    text.unicodeScalars.reduce(into: "") { result, scalar in
      switch scalar {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&#34;"
      case "'": result += "&#39;"
      default: result.unicodeScalars.append(scalar)
      }
    }
  }

  /// Lines after the first, or all, begin with spaces; empty ones only if that is asked for.
  private static func indented(
    _ text: String, _ arguments: TemplateCallArguments, _ interpreter: inout TemplateInterpreter
  ) throws -> String {
    let width = arguments.value(0, "width") ?? .integer(4)
    let mostSpaces = 1000
    let space: String =
      if case .string(let text) = width { text } else {
        String(repeating: " ", count: min(max(width.integer ?? 4, 0), mostSpaces))
      }
    let first = arguments.value(1, "first")?.isTrue == true
    let blank = arguments.value(2, "blank")?.isTrue == true
    var lines = TemplateText.lines(text + "\n")
    for line in lines {
      try interpreter.countText(bytes: line.utf8.count + space.utf8.count)
    }
    for index in lines.indices where index > 0 || first {
      if blank || !lines[index].isEmpty { lines[index] = space + lines[index] }
    }
    return lines.joined(separator: "\n")
  }

  private static func json(
    _ value: TemplateValue, _ arguments: TemplateCallArguments,
    _ interpreter: inout TemplateInterpreter, line: Int
  ) throws -> TemplateValue {
    let mostSpaces = 16
    let names: Set = ["indent", "ensure_ascii"]
    if let other = arguments.named.members.map(\.key).first(where: { !names.contains($0) }) {
      throw interpreter.failure(line, "tojson with \(other) is not supported")
    }
    // Hugging Face's form: characters as they are, keys in their order.
    let isEscaped = arguments.value(0, "ensure_ascii")?.isTrue == true
    let indent = arguments.value(1, "indent")?.integer.map { min(max($0, 0), mostSpaces) }
    try interpreter.countParts(of: value, indent: indent ?? 0)
    guard let text = value.json(indent: indent, escapesNonASCII: isEscaped) else {
      throw unusable("tojson", value, interpreter, line)
    }
    return .string(text)
  }
}
