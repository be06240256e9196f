import AttentionLanguageModels

/// The fields of a request's JSON object, read one by one.
struct RequestFields {
  private let body: ChatValue

  /// - Throws: ``APIError`` if the body is not a JSON object.
  init(_ bytes: [UInt8]) throws {
    do { body = try ChatValue(json: bytes, source: "the body") } catch {
      throw APIError.invalid(nil, "\(error)", code: "invalid_json")
    }
    guard case .object = body else {
      throw APIError.invalid(nil, "the body must be a JSON object", code: "invalid_json")
    }
  }

  /// The value of a field; nil if it is absent or null.
  subscript(name: String) -> ChatValue? {
    guard let value = body[name], value != .null else { return nil }
    return value
  }

  func string(_ name: String) throws -> String? {
    guard let value = self[name] else { return nil }
    guard case .string(let text) = value else {
      throw APIError.invalid(name, was: value.summary, mustBe: "a string")
    }
    return text
  }

  func bool(_ name: String) throws -> Bool? {
    guard let value = self[name] else { return nil }
    guard case .bool(let bool) = value else {
      throw APIError.invalid(name, was: value.summary, mustBe: "true or false")
    }
    return bool
  }

  func integer(_ name: String, in range: ClosedRange<Int>) throws -> Int? {
    guard let value = self[name] else { return nil }
    guard case .integer(let number) = value, range.contains(number) else {
      throw APIError.invalid(
        name, was: value.summary,
        mustBe: "a whole number from \(range.lowerBound) to \(range.upperBound)")
    }
    return number
  }

  func number(_ name: String, in range: ClosedRange<Double>) throws -> Double? {
    let number: Double? =
      switch self[name] {
      case .integer(let value): Double(value)
      case .number(let value): value
      default: nil
      }
    guard let value = self[name] else { return nil }
    guard let number, range.contains(number) else {
      throw APIError.invalid(
        name, was: value.summary,
        mustBe: "a number from \(range.lowerBound) to \(range.upperBound)")
    }
    return number
  }

  /// Refuses a field that would change the answer and is not supported, unless it has a value that does not.
  func refuse(_ name: String, unless isHarmless: (ChatValue) -> Bool) throws {
    guard let value = self[name], !isHarmless(value) else { return }
    throw APIError.invalid(
      name, "\(name) is \(value.summary); this server does not support it",
      code: "unsupported_parameter")
  }
}

extension ChatValue {
  /// The value as error messages show it; of arrays and objects only the kind.
  var summary: String {
    switch self {
    case .null: "null"
    case .bool(let value): "\(value)"
    case .integer(let value): "\(value)"
    case .number(let value): "\(value)"
    case .string(let value): "\"\(value.prefix(40))\""
    case .array(let values): "an array of \(values.count)"
    case .object: "an object"
    }
  }
}
