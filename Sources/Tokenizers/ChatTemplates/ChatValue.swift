import AttentionJSON

/// A value that a chat template is given: JSON whose objects keep their order, since templates print them.
public enum ChatValue: Hashable, Sendable {
  case null
  case bool(Bool)
  case integer(Int)
  case number(Double)
  case string(String)
  case array([ChatValue])
  case object([Member])

  /// A member of an object.
  public struct Member: Hashable, Sendable {
    public let key: String
    public let value: ChatValue

    public init(_ key: String, _ value: ChatValue) {
      self.key = key
      self.value = value
    }
  }

  /// A message of a conversation.
  ///
  /// - Parameters:
  ///   - role: who says it: `system`, `user`, `assistant`, or another that the template knows.
  ///   - content: the text.
  public static func message(role: String, content: String) -> ChatValue {
    .object([Member("role", .string(role)), Member("content", .string(content))])
  }

  /// Reads JSON.
  ///
  /// - Parameters:
  ///   - json: the text in UTF-8.
  ///   - source: what errors call it.
  /// - Throws: ``TokenizerError/syntax(source:reason:)``.
  public init(json: [UInt8], source: String) throws {
    do {
      var parser = try JSON5Parser(json)
      self = try Self.read(&parser)
      try parser.end()
    } catch let failure as JSON5Parser.Failure {
      throw TokenizerError.syntax(source: source, reason: failure.located(in: json))
    }
  }

  private static func read(_ parser: inout JSON5Parser) throws -> ChatValue {
    switch try parser.nextKind() {
    case UInt8(ascii: "{"):
      var members: [Member] = []
      try parser.members { parser, key in
        members.append(Member(String(decoding: key, as: UTF8.self), try read(&parser)))
      }
      return .object(members)
    case UInt8(ascii: "["):
      var elements: [ChatValue] = []
      try parser.elements { elements.append(try read(&$0)) }
      return .array(elements)
    default:
      switch try parser.value() {
      case .bool(let value): return .bool(value)
      case .integer(let value): return .integer(value)
      case .number(let value): return .number(value)
      case .string(let value): return .string(value)
      default: return .null
      }
    }
  }

  /// The value as JSON in one line.
  public var json: String { TemplateValue(self).json(indent: nil) ?? "null" }

  /// The value of a member; nil if there is none.
  public subscript(key: String) -> ChatValue? {
    guard case .object(let members) = self else { return nil }
    return members.last { $0.key.utf8.elementsEqual(key.utf8) }?.value
  }
}
