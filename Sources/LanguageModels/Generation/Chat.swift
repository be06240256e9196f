import AttentionCLibrary
import AttentionTokenizers

/// A conversation as a model reads it, up to where its answer begins.
public struct Chat: Sendable {
  public let tokens: [Int32]
  /// Tokens that end the answer: those that end a text, and the one that the template puts behind an answer.
  public let endTokens: Set<Int32>
}

extension TextModel {
  /// The tokens of a conversation by the chat template of the model's folder.
  ///
  ///     let chat = try model.chat([.message(role: "user", content: "What is attention?")])
  ///
  /// - Parameter messages: in order, with the roles that the template knows.
  /// - Throws: `ChatTemplateError` if the folder has no template or it refuses the messages, `TokenizerError`.
  public func chat(_ messages: [ChatValue]) throws -> Chat {
    var template = try ChatTemplate(folder: folder)
    template.formattedTime = Self.localTime
    let text = try template.render(messages: messages, addsGenerationPrompt: true)
    var ends = endTokens
    if let end = endOfAnswer(template, after: messages) { ends.insert(end) }
    return Chat(tokens: try tokenizer.tokens(ofConversation: text), endTokens: ends)
  }

  /// The special token that the template puts behind an answer; nil if it puts none there.
  private func endOfAnswer(_ template: ChatTemplate, after messages: [ChatValue]) -> Int32? {
    let answer = "An answer."
    let whole = messages + [.message(role: "assistant", content: answer)]
    // A template may refuse to show an answer: then it has no end that could be found.
    guard let text = try? template.render(messages: whole),
      let place = text.ranges(of: answer).last,
      let next = try? tokenizer.tokens(ofConversation: String(text[place.upperBound...])).first,
      tokenizer.isSpecial(next)
    else { return nil }
    return next
  }

  /// The local time in a format of `strftime`.
  @Sendable private static func localTime(_ format: String) -> String {
    var seconds = time(nil)
    var parts = tm()
    localtime_r(&seconds, &parts)
    let longest = 1024
    var text = [CChar](repeating: 0, count: longest)
    let count = strftime(&text, longest, format, &parts)
    return String(decoding: text[..<count].map(UInt8.init(bitPattern:)), as: UTF8.self)
  }
}
