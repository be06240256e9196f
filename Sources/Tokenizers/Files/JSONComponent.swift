import AttentionJSON

/// An object of a `tokenizer.json`, with its place for messages.
struct JSONComponent {
  let source: String
  let place: String
  private let members: [String: JSONValue]

  /// - Throws: ``TokenizerError/invalidValue(source:place:was:mustBe:)`` if `value` is no object.
  init(_ value: JSONValue, source: String, place: String) throws {
    guard case .object(let members) = value else {
      throw TokenizerError.invalidValue(
        source: source, place: place, was: value.summary, mustBe: "an object")
    }
    self.source = source
    self.place = place
    self.members = members
  }

  /// The member `key`; nil if it is absent or null.
  subscript(key: String) -> JSONValue? {
    guard let value = members[key], value != .null else { return nil }
    return value
  }

  /// The kind of component.
  var type: String { get throws { try string("type") } }

  func invalid(_ key: String, mustBe: String) -> TokenizerError {
    .invalidValue(
      source: source, place: "\(place).\(key)", was: self[key]?.summary ?? "absent",
      mustBe: mustBe)
  }

  func unsupported(_ what: String) -> TokenizerError {
    .unsupported(source: source, component: "\(place): \(what)")
  }

  func string(_ key: String, default otherwise: String? = nil) throws -> String {
    guard let value = self[key] else {
      if let otherwise { return otherwise }
      throw invalid(key, mustBe: "a string")
    }
    guard case .string(let text) = value else { throw invalid(key, mustBe: "a string") }
    return text
  }

  func utf8(_ key: String, default otherwise: String? = nil) throws -> [UInt8] {
    Array(try string(key, default: otherwise).utf8)
  }

  /// A string of one of a few names, which may be written in another case.
  func name<T: CaseIterable & RawRepresentable<String>>(_ key: String, default otherwise: T) throws
    -> T
  {
    guard self[key] != nil else { return otherwise }
    let text = try string(key)
    guard let value = T.allCases.first(where: { $0.rawValue.lowercased() == text.lowercased() })
    else {
      throw invalid(key, mustBe: "one of \(T.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    return value
  }

  func bool(_ key: String, default otherwise: Bool) throws -> Bool {
    guard let value = self[key] else { return otherwise }
    guard case .bool(let flag) = value else { throw invalid(key, mustBe: "true or false") }
    return flag
  }

  func integer(_ key: String, default otherwise: Int? = nil) throws -> Int {
    guard let value = self[key] else {
      if let otherwise { return otherwise }
      throw invalid(key, mustBe: "a whole number")
    }
    guard case .integer(let number) = value else { throw invalid(key, mustBe: "a whole number") }
    return number
  }

  /// A whole number in `range`.
  func integer(_ key: String, in range: Range<Int>) throws -> Int {
    let number = try integer(key)
    guard range.contains(number) else { throw invalid(key, mustBe: "in \(range)") }
    return number
  }

  /// The components of an array.
  func components(_ key: String) throws -> [JSONComponent] {
    guard case .array(let values)? = self[key] else { throw invalid(key, mustBe: "an array") }
    return try values.enumerated().map { index, value in
      try JSONComponent(value, source: source, place: "\(place).\(key)[\(index)]")
    }
  }

  func component(_ key: String) throws -> JSONComponent {
    guard let value = self[key] else { throw invalid(key, mustBe: "an object") }
    return try JSONComponent(value, source: source, place: "\(place).\(key)")
  }

  /// The names of the members.
  var keys: [String] { members.keys.sorted() }

  /// A pattern: `{"String": …}` or `{"Regex": …}`.
  func splitter(_ key: String) throws -> Splitter {
    if case .string(let text)? = self[key] { return .text(Array(text.utf8)) }
    let pattern = try component(key)
    if pattern["String"] != nil { return .text(try pattern.utf8("String")) }
    return .pattern(try RegularExpression(pattern.string("Regex"), dialect: .oniguruma))
  }
}
