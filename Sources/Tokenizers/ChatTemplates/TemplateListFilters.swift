/// Filters of lists, and of what can be looped over.
enum TemplateListFilters {
  static func apply(
    _ name: String, to value: TemplateValue, _ arguments: TemplateCallArguments,
    _ interpreter: inout TemplateInterpreter, line: Int
  ) throws -> TemplateValue {
    if name == "reverse", case .string(let text) = value {
      return .string(String(String.UnicodeScalarView(text.unicodeScalars.reversed())))
    }
    let values = try interpreter.elements(of: value, line: line)
    switch name {
    case "list": return .list(values)
    case "first": return values.first ?? .undefined("the first of no elements")
    case "last": return values.last ?? .undefined("the last of no elements")
    case "reverse": return .list(values.reversed())
    case "join":
      let attribute = arguments.value(1, "attribute")
      let parts = try values.map { value in
        try attribute.map { try Self.attribute($0, of: value, interpreter, line) } ?? value
      }
      return .string(
        try TemplateText.joined(
          parts.map { try interpreter.text(of: $0) }, by: arguments.value(0, "d")?.text ?? "",
          &interpreter))
    case "map": return try map(values, arguments, &interpreter, line: line)
    case "select", "reject", "selectattr", "rejectattr":
      return try select(name, values, arguments, interpreter, line: line)
    case "sum":
      var sum = arguments.value(1, "start") ?? .integer(0)
      for value in values {
        let value =
          try arguments.value(0, "attribute").map {
            try attribute($0, of: value, interpreter, line)
          }
          ?? value
        sum = try TemplateArithmetic.apply("+", sum, value, &interpreter, line: line)
      }
      return sum
    case "unique":
      var seen: [TemplateValue] = []
      for value in values {
        try interpreter.count(seen.count)
        if !seen.contains(folded(value)) { seen.append(folded(value)) } else { continue }
      }
      return .list(
        seen.compactMap { wanted in values.first { folded($0) == wanted } })
    default: return try ordered(name, values, arguments, interpreter, line: line)
    }
  }

  /// `sort`, `min` and `max`.
  private static func ordered(
    _ name: String, _ values: [TemplateValue], _ arguments: TemplateCallArguments,
    _ interpreter: TemplateInterpreter, line: Int
  ) throws -> TemplateValue {
    let isCaseSensitive =
      arguments.value(name == "sort" ? 1 : 0, "case_sensitive")?.isTrue == true
    let attribute = arguments.value(name == "sort" ? 2 : 1, "attribute")
    let keys = try values.map { value in
      let key = try attribute.map { try Self.attribute($0, of: value, interpreter, line) } ?? value
      return isCaseSensitive ? key : folded(key)
    }
    for (first, second) in zip(keys, keys.dropFirst()) where first.isLess(than: second) == nil {
      throw interpreter.failure(line, "\(first.kind) cannot be compared with \(second.kind)")
    }
    let reverses = name == "sort" && arguments.value(0, "reverse")?.isTrue == true
    // Equal ones keep their order, also where it is reversed.
    let order = keys.indices.sorted { a, b in
      let (first, second) = reverses ? (keys[b], keys[a]) : (keys[a], keys[b])
      if first.isLess(than: second) == true { return true }
      return second.isLess(than: first) == true ? false : a < b
    }
    switch name {
    case "min": return order.first.map { values[$0] } ?? .undefined("the least of no elements")
    case "max":
      guard let last = order.last else { return .undefined("the greatest of no elements") }
      return values[keys.firstIndex { $0 == keys[last] } ?? last]
    default: return .list(order.map { values[$0] })
    }
  }

  private static func folded(_ value: TemplateValue) -> TemplateValue {
    if case .string(let text) = value { .string(text.lowercased()) } else { value }
  }

  /// A member by its name, `a.b` for one of a member, or an element by its number.
  private static func attribute(
    _ name: TemplateValue, of value: TemplateValue, _ interpreter: TemplateInterpreter, _ line: Int
  ) throws -> TemplateValue {
    guard case .string(let path) = name else {
      return try interpreter.element(name, of: value, line: line)
    }
    return try path.split(separator: ".").reduce(value) { value, part in
      let index: TemplateValue = Int(part).map { .integer($0) } ?? .string(String(part))
      return try interpreter.element(index, of: value, line: line)
    }
  }

  private static func map(
    _ values: [TemplateValue], _ arguments: TemplateCallArguments,
    _ interpreter: inout TemplateInterpreter, line: Int
  ) throws -> TemplateValue {
    if let name = arguments.named["attribute"] {
      return .list(
        try values.map { value in
          let member = try attribute(name, of: value, interpreter, line)
          return member.isUndefined ? arguments.named["default"] ?? member : member
        })
    }
    guard case .string(let filter)? = arguments.values.first, TemplateFilters.names.contains(filter)
    else {
      throw interpreter.failure(line, "map takes an attribute, or the name of a filter")
    }
    var rest = arguments
    rest.values.removeFirst()
    var results: [TemplateValue] = []
    for value in values {
      results.append(
        try TemplateFilters.apply(filter, to: value, rest, &interpreter, line: line))
    }
    return .list(results)
  }

  private static func select(
    _ name: String, _ values: [TemplateValue], _ arguments: TemplateCallArguments,
    _ interpreter: TemplateInterpreter, line: Int
  ) throws -> TemplateValue {
    var rest = arguments.values[...]
    let attribute = name.hasSuffix("attr") ? rest.popFirst() : nil
    let test = rest.popFirst()?.text
    if let test, !TemplateTests.names.contains(test) {
      throw interpreter.failure(line, "the test \(test) is not supported")
    }
    let wanted = name.hasPrefix("select")
    return .list(
      try values.filter { value in
        let tested =
          try attribute.map { try Self.attribute($0, of: value, interpreter, line) } ?? value
        let holds =
          try test.map {
            try TemplateTests.holds($0, for: tested, Array(rest), interpreter, line: line)
          } ?? tested.isTrue
        return holds == wanted
      })
  }
}

/// Numbers of texts, and rounding.
enum TemplateNumbers {
  static func whole(_ value: TemplateValue) -> Int? {
    switch value {
    case .string(let text):
      let plain = TemplateText.stripped(text, of: nil, left: true, right: true)
      return Int(plain) ?? Double(plain).flatMap { Int(exactly: $0.rounded(.towardZero)) }
    case .number(let number): return Int(exactly: number.rounded(.towardZero))
    default: return value.integer
    }
  }

  static func real(_ value: TemplateValue) -> Double? {
    guard case .string(let text) = value else { return value.number }
    return Double(TemplateText.stripped(text, of: nil, left: true, right: true))
  }

  static func rounded(_ number: Double, _ arguments: TemplateCallArguments) -> Double {
    let places = min(max(arguments.value(0, "precision")?.integer ?? 0, -300), 300)
    let unit = (0..<abs(places)).reduce(1.0) { unit, _ in unit * 10 }
    let scaled = places < 0 ? number / unit : number * unit
    let result =
      switch arguments.value(1, "method")?.text {
      case "ceil": scaled.rounded(.up)
      case "floor": scaled.rounded(.down)
      default: scaled.rounded(.toNearestOrEven)
      }
    return places < 0 ? result * unit : result / unit
  }
}
