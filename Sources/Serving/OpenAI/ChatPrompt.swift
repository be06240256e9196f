import AttentionCLibrary
import AttentionLanguageModels

/// How the messages of a chat become a prompt.
public struct ChatPrompt: Sendable {
  private let template: ChatTemplate?

  /// The template of a published model.
  public init(_ template: ChatTemplate) {
    var template = template
    template.formattedTime = Self.now
    self.template = template
  }

  /// For models without a template: every message as its role, a colon and its text on a line, and the answer after
  /// `assistant:`.
  public static let plain = ChatPrompt()

  private init() { template = nil }

  /// What the plain form begins an answer with; where the model writes the user's next line, the answer ends.
  var stops: [String] { template == nil ? ["\nuser:"] : [] }

  /// The text that the model continues.
  ///
  /// - Throws: ``APIError`` for messages that are not of the interface, or that the template refuses.
  func text(of messages: ChatValue?) throws -> String {
    guard case .array(let messages)? = messages, !messages.isEmpty else {
      throw APIError.invalid(
        "messages", was: messages?.summary ?? "missing", mustBe: "an array of messages")
    }
    let read = try messages.enumerated().map { try Self.message($1, at: $0) }
    guard let template else {
      let lines = read.map { "\($0.role): \($0.content)\n" }
      return lines.joined() + "assistant:"
    }
    do {
      return try template.render(
        messages: read.map { .message(role: $0.role, content: $0.content) },
        addsGenerationPrompt: true)
    } catch {
      throw APIError.invalid("messages", "\(error)", code: "invalid_messages")
    }
  }

  private struct Message {
    var role: String
    var content: String
  }

  private static func message(_ value: ChatValue, at index: Int) throws -> Message {
    let name = "messages[\(index)]"
    guard case .string(let role)? = value["role"] else {
      throw APIError.invalid("\(name).role", was: "missing", mustBe: "a string")
    }
    switch value["content"] {
    case .string(let text)?: return Message(role: role, content: text)
    case .array(let parts)?:
      let texts = try parts.map { part in
        guard part["type"] == .string("text"), case .string(let text)? = part["text"] else {
          throw APIError.invalid(
            "\(name).content", was: "with \(part["type"]?.summary ?? part.summary)",
            mustBe: #"text, or parts of the type "text""#)
        }
        return text
      }
      return Message(role: role, content: texts.joined())
    default:
      throw APIError.invalid(
        "\(name).content", was: value["content"]?.summary ?? "missing", mustBe: "text")
    }
  }

  /// The local time in the format of `strftime`.
  private static func now(_ format: String) -> String {
    var seconds = time(nil)
    var parts = tm()
    localtime_r(&seconds, &parts)
    return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
      let count = strftime(buffer.baseAddress, buffer.count, format, &parts)
      return String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
  }
}
