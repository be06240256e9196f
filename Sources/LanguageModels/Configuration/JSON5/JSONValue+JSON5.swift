import AttentionCUDA
import FoundationEssentials

extension JSONValue {
  /// Reads JSON5: JSON with comments, unquoted keys, trailing commas and single quotes.
  ///
  /// - Parameters:
  ///   - text: the document in UTF-8.
  ///   - source: what the text is called in errors: the file's path.
  /// - Throws: ``ConfigurationError/syntax(source:reason:)``.
  public init(json5 text: Data, source: String) throws {
    try self.init(json5: [UInt8](text), source: source)
  }

  /// Reads JSON5.
  ///
  /// - Parameters:
  ///   - text: the document.
  ///   - source: what the text is called in errors.
  /// - Throws: ``ConfigurationError/syntax(source:reason:)``.
  public init(json5 text: String, source: String = "configuration") throws {
    try self.init(json5: Array(text.utf8), source: source)
  }

  private init(json5 bytes: [UInt8], source: String) throws {
    do { self = try JSON5Parser.parse(bytes) } catch let failure as JSON5Parser.Failure {
      throw ConfigurationError.syntax(source: source, reason: failure.located(in: bytes))
    }
  }

  /// Reads a JSON5 file.
  ///
  /// - Throws: ``ConfigurationError/file(path:reason:)``, or
  ///   ``ConfigurationError/syntax(source:reason:)``.
  public init(json5File path: String) throws {
    try self.init(json5: Self.text(ofFile: path), source: path)
  }

  /// The bytes of a JSON5 file.
  ///
  /// - Throws: ``ConfigurationError/file(path:reason:)``.
  static func text(ofFile path: String) throws -> [UInt8] {
    do { return try RegularFile(path: path).bytes(atMost: mostBytes) } catch {
      throw ConfigurationError.file(
        path: path, reason: (error as? FileProblem)?.reason ?? "cannot be read")
    }
  }

  /// More than any configuration has: a value takes many times the memory of its text.
  private static let mostBytes = 64 << 20

  /// The value that `encodable` is written as.
  public init(encoding encodable: some Encodable) throws {
    self = try JSONDecoder().decode(JSONValue.self, from: JSONEncoder().encode(encodable))
  }

  /// Decodes a struct from this value.
  ///
  /// - Throws: ``ConfigurationError`` with the path of the key that is wrong.
  public func decoded<T: Decodable>(as type: T.Type) throws -> T {
    do {
      return try JSONDecoder().decode(type, from: JSONEncoder().encode(self))
    } catch DecodingError.keyNotFound(let key, let context) {
      throw ConfigurationError.missingKey((context.codingPath + [key]).dotted)
    } catch DecodingError.typeMismatch(let type, let context) {
      throw mismatch(at: context.codingPath, mustBe: Self.kind(of: type))
    } catch DecodingError.valueNotFound(let type, let context) {
      throw mismatch(at: context.codingPath, mustBe: Self.kind(of: type))
    } catch DecodingError.dataCorrupted(let context) {
      throw mismatch(at: context.codingPath, mustBe: "a valid value for its key")
    } catch EncodingError.invalidValue(let value, let context) {
      throw ConfigurationError.invalidValue(
        context.codingPath.dotted, was: "\(value)", mustBe: "a finite number")
    }
  }

  /// The value as JSON: indented, keys in alphabetical order, a line break at the end, so that
  /// equal values give equal bytes.
  public func serialized() throws -> Data {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    return try encoder.encode(self) + Data([UInt8(ascii: "\n")])
  }

  /// The value as JSON in one line, keys in alphabetical order.
  func line() throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(self), as: UTF8.self)
  }

  private func mismatch(at path: [any CodingKey], mustBe: String) -> ConfigurationError {
    .invalidValue(path.dotted, was: self[path]?.summary ?? "absent", mustBe: mustBe)
  }

  /// What a Swift type is called in JSON.
  static func kind(of type: Any.Type) -> String {
    switch type {
    case is Bool.Type: "true or false"
    case is String.Type: "a string"
    case is any BinaryInteger.Type: "a whole number"
    case is any BinaryFloatingPoint.Type: "a number"
    case is any ArrayType.Type: "an array"
    case let type as any OptionalType.Type: kind(of: type.wrapped)
    default: "an object"
    }
  }
}

extension JSONValue {
  /// The names that a value of `type` can have, if it is one of a few.
  static func names(of type: Any.Type) -> String? {
    func names<T: CaseIterable & RawRepresentable<String>>(_ type: T.Type) -> String {
      "one of " + type.allCases.map { "\"\($0.rawValue)\"" }.joined(separator: ", ")
    }
    if let type = type as? any OptionalType.Type { return Self.names(of: type.wrapped) }
    return (type as? any (CaseIterable & RawRepresentable<String>).Type).map { names($0) }
  }
}

/// Recognises arrays of any element among metatypes.
private protocol ArrayType {}
extension Array: ArrayType {}

/// Tells what an optional value is where there is one.
private protocol OptionalType { static var wrapped: Any.Type { get } }
extension Optional: OptionalType { static var wrapped: Any.Type { Wrapped.self } }
