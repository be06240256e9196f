/// Methods of strings, lists and dicts, as Python has them. Those that would change a value are refused.
enum TemplateMethods {
  private static let ofStrings: Set = [
    "strip", "lstrip", "rstrip", "startswith", "endswith", "upper", "lower", "title", "capitalize",
    "split", "rsplit", "splitlines", "replace", "find", "rfind", "count", "join", "removeprefix",
    "removesuffix", "isdigit", "isalpha", "isalnum", "isspace", "islower", "isupper",
  ]
  private static let ofDicts: Set = ["items", "keys", "values", "get"]
  private static let ofLists: Set = ["index", "count"]

  static func has(_ name: String, _ value: TemplateValue) -> Bool {
    switch value {
    case .string: ofStrings.contains(name)
    case .object: ofDicts.contains(name)
    case .list: ofLists.contains(name)
    default: false
    }
  }

  static func call(
    _ name: String, of value: TemplateValue, _ arguments: TemplateCallArguments,
    _ interpreter: inout TemplateInterpreter, line: Int
  ) throws -> TemplateValue {
    switch value {
    case .object(let object):
      switch name {
      case "items": return .list(object.members.map { .list([.string($0.key), $0.value]) })
      case "keys": return .list(object.members.map { .string($0.key) })
      case "values": return .list(object.members.map(\.value))
      default:
        guard case .string(let key)? = arguments.value(0, "key") else {
          return arguments.value(1, "default") ?? .none
        }
        return object[key] ?? arguments.value(1, "default") ?? .none
      }
    case .list(let values):
      let wanted = arguments.value(0, "value") ?? .none
      if name == "count" { return .integer(values.count { $0 == wanted }) }
      guard let index = values.firstIndex(of: wanted) else {
        throw interpreter.failure(line, "\(wanted.representation) is not in the list")
      }
      return .integer(index)
    case .string(let text):
      try interpreter.countText(text)
      return try call(name, of: text, arguments, &interpreter, line: line)
    default: throw interpreter.failure(line, "\(value.kind) has no method \(name)")
    }
  }

  // MARK: Strings

  private static func call(
    _ name: String, of text: String, _ arguments: TemplateCallArguments,
    _ interpreter: inout TemplateInterpreter, line: Int
  ) throws -> TemplateValue {
    let scalars = text.unicodeScalars
    /// The argument at a place as text; nil if it is absent or None.
    func argument(_ index: Int, _ name: String) throws -> String? {
      guard let value = arguments.value(index, name), !value.isNone else { return nil }
      guard case .string(let text) = value else {
        throw interpreter.failure(line, "\(name) is \(value.kind); it must be a string")
      }
      return text
    }
    func required(_ index: Int, _ name: String) throws -> String {
      guard let text = try argument(index, name) else {
        throw interpreter.failure(line, "\(name) is missing")
      }
      return text
    }
    switch name {
    case "strip", "lstrip", "rstrip":
      return .string(
        TemplateText.stripped(
          text, of: try argument(0, "chars"), left: name != "rstrip", right: name != "lstrip"))
    case "startswith", "endswith":
      var candidates = arguments.values.first.map { [$0] } ?? []
      if case .list(let several)? = candidates.first { candidates = several }
      return .bool(
        candidates.contains { candidate in
          name == "startswith"
            ? scalars.starts(with: candidate.text.unicodeScalars)
            : scalars.reversed().starts(with: candidate.text.unicodeScalars.reversed())
        })
    case "upper": return .string(text.uppercased())
    case "lower": return .string(text.lowercased())
    case "title":
      return .string(TextCase.titled(text) { !$0.properties.isCased })
    case "capitalize": return .string(TextCase.capitalized(text))
    case "split", "rsplit":
      let most = arguments.value(1, "maxsplit")?.integer ?? -1
      let separator = try argument(0, "sep")
      guard separator?.isEmpty != true else {
        throw interpreter.failure(line, "the separator is empty")
      }
      let parts = TemplateText.split(
        text, by: separator, most: most < 0 ? .max : most, fromEnd: name == "rsplit")
      try interpreter.count(parts.count)
      return .list(parts.map { .string($0) })
    case "splitlines": return .list(TemplateText.lines(text).map { .string($0) })
    case "replace":
      return .string(
        try TemplateText.replacing(
          text, required(0, "old"), with: required(1, "new"),
          most: arguments.value(2, "count")?.integer.flatMap { $0 < 0 ? nil : $0 } ?? .max,
          &interpreter))
    case "find", "rfind":
      let places = TemplateText.places(of: try required(0, "sub"), in: text, overlapping: true)
      return .integer((name == "find" ? places.first : places.last) ?? -1)
    case "count":
      return .integer(
        TemplateText.places(of: try required(0, "sub"), in: text, overlapping: false).count)
    case "join":
      let parts = try interpreter.elements(of: arguments.value(0, "iterable") ?? .none, line: line)
      return .string(
        try TemplateText.joined(parts.map { try interpreter.text(of: $0) }, by: text, &interpreter))
    case "removeprefix":
      let prefix = try required(0, "prefix").unicodeScalars
      return .string(
        scalars.starts(with: prefix) ? String(scalars.dropFirst(prefix.count)) : text)
    case "removesuffix":
      let suffix = try required(0, "suffix").unicodeScalars
      let isThere = scalars.reversed().starts(with: suffix.reversed())
      return .string(isThere ? String(scalars.dropLast(suffix.count)) : text)
    default: return .bool(!text.isEmpty && TemplateText.has(name, text))
    }
  }
}
