extension TemplateValue {
  /// The value as Python's `str` writes it.
  var text: String {
    switch self {
    case .undefined: ""
    case .string(let value): value
    default: representation
    }
  }

  /// The value as Python's `repr` writes it.
  var representation: String {
    switch self {
    case .undefined: "Undefined"
    case .none: "None"
    case .bool(let value): value ? "True" : "False"
    case .integer(let value): "\(value)"
    case .number(let value): Self.text(of: value)
    case .string(let value): Self.quoted(value)
    case .list(let values): "[\(values.map(\.representation).joined(separator: ", "))]"
    case .object(let object):
      "{"
        + object.members.map { "\(Self.quoted($0.key)): \($0.value.representation)" }
        .joined(separator: ", ") + "}"
    case .namespace: "<Namespace>"
    case .function: "<function>"
    }
  }

  /// A number as Python writes it: `1.0`, `1e-05`, `1e+16`.
  private static func text(of number: Double) -> String {
    if number.isNaN { return "nan" }
    if number.isInfinite { return number < 0 ? "-inf" : "inf" }
    var text = "\(number)"
    guard let place = text.firstIndex(of: "e") else {
      // Swift writes numbers below 1e-4 with an exponent as Python does, and large ones up to 2⁵⁴ without.
      let limit = 1e16
      guard abs(number) >= limit else { return text }
      return exponential(text)
    }
    var mantissa = String(text[..<place])
    if mantissa.hasSuffix(".0") { mantissa.removeLast(2) }
    let exponent = Int(text[text.index(after: place)...]) ?? 0
    text = "\(mantissa)e\(exponent < 0 ? "-" : "+")\(abs(exponent) < 10 ? "0" : "")\(abs(exponent))"
    return text
  }

  /// Digits such as `12300000000000000.0` as `1.23e+16`.
  private static func exponential(_ text: String) -> String {
    let sign = text.hasPrefix("-") ? "-" : ""
    let digits = text.drop { $0 == "-" }.prefix { $0 != "." }
    var mantissa = digits.dropFirst()
    while mantissa.last == "0" { mantissa.removeLast() }
    return
      "\(sign)\(digits.prefix(1))\(mantissa.isEmpty ? "" : "." + mantissa)e+\(digits.count - 1)"
  }

  /// A text in quotes as Python writes it.
  private static func quoted(_ text: String) -> String {
    let quote: Unicode.Scalar =
      text.unicodeScalars.contains("'") && !text.unicodeScalars.contains("\"") ? "\"" : "'"
    var result = String(Character(quote))
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      case "\r": result += "\\r"
      case "\t": result += "\\t"
      case quote: result += "\\" + String(Character(quote))
      default: result.unicodeScalars.append(scalar)
      }
    }
    result.unicodeScalars.append(quote)
    return result
  }

  // MARK: JSON

  /// The value as JSON in Python's form: a space after commas and colons, unless it is indented.
  ///
  /// - Parameter indent: spaces for each level, or nil for one line.
  /// - Returns: nil if a part of it has no JSON.
  func json(indent: Int?, escapesNonASCII: Bool = false, level: Int = 0) -> String? {
    switch self {
    case .none: return "null"
    case .bool(let value): return value ? "true" : "false"
    case .integer(let value): return "\(value)"
    case .number(let value):
      return value.isNaN ? "NaN" : value.isInfinite ? (value < 0 ? "-" : "") + "Infinity" : text
    case .string(let value): return JSONText.quoted(value, escapesNonASCII: escapesNonASCII)
    case .list(let values):
      let parts = values.map {
        $0.json(indent: indent, escapesNonASCII: escapesNonASCII, level: level + 1)
      }
      return Self.joined(parts, "[", "]", indent, level)
    case .object(let object):
      let parts = object.members.map { member in
        member.value.json(indent: indent, escapesNonASCII: escapesNonASCII, level: level + 1).map {
          "\(JSONText.quoted(member.key, escapesNonASCII: escapesNonASCII)): \($0)"
        }
      }
      return Self.joined(parts, "{", "}", indent, level)
    case .undefined, .namespace, .function: return nil
    }
  }

  private static func joined(
    _ parts: [String?], _ open: String, _ close: String, _ indent: Int?, _ level: Int
  ) -> String? {
    let known = parts.compactMap(\.self)
    guard known.count == parts.count else { return nil }
    guard let indent, !known.isEmpty else { return open + known.joined(separator: ", ") + close }
    let outer = "\n" + String(repeating: " ", count: indent * level)
    let inner = outer + String(repeating: " ", count: indent)
    return open + inner + known.joined(separator: "," + inner) + outer + close
  }
}
