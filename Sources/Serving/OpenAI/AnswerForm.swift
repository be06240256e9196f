import AttentionLanguageModels

/// The two forms of answers: continuations of texts, and messages of a chat.
enum AnswerForm: Sendable {
  case completion
  case chat

  /// The beginning of identifiers.
  var identifierPrefix: String { self == .completion ? "cmpl-" : "chatcmpl-" }

  /// The kind of a whole answer, and of a part of a streamed one.
  func object(isPart: Bool) -> String {
    switch self {
    case .completion: "text_completion"
    case .chat: isPart ? "chat.completion.chunk" : "chat.completion"
    }
  }

  /// A choice of a whole answer.
  func choice(
    _ index: Int, text: String, tokens: [ScoredToken]?, reason: FinishReason
  ) -> ChatValue {
    let scores: ChatValue = tokens.map { self.scores(of: $0, after: 0) } ?? .null
    switch self {
    case .completion:
      return .members(
        ("index", .integer(index)), ("text", .string(text)), ("logprobs", scores),
        ("finish_reason", .string(reason.rawValue)))
    case .chat:
      return .members(
        ("index", .integer(index)),
        (
          "message",
          .members(
            ("role", .string("assistant")), ("content", .string(text)), ("refusal", .null))
        ),
        ("logprobs", scores), ("finish_reason", .string(reason.rawValue)))
    }
  }

  /// A part of a choice of a streamed answer.
  ///
  /// - Parameters:
  ///   - index: of the choice.
  ///   - text: what follows; nil for none.
  ///   - isFirst: whether the choice begins.
  ///   - tokens: those of the text, if their probabilities are wanted.
  ///   - offset: of the text in the answer, in characters (Unicode scalars).
  ///   - reason: the end of the choice; nil before.
  func part(
    _ index: Int, text: String?, isFirst: Bool, tokens: [ScoredToken]?, offset: Int,
    reason: FinishReason?
  ) -> ChatValue {
    let scores: ChatValue = tokens.map { self.scores(of: $0, after: offset) } ?? .null
    let end: ChatValue = reason.map { .string($0.rawValue) } ?? .null
    switch self {
    case .completion:
      return .members(
        ("index", .integer(index)), ("text", .string(text ?? "")), ("logprobs", scores),
        ("finish_reason", end))
    case .chat:
      var delta: [ChatValue.Member] = []
      if isFirst { delta.append(.init("role", .string("assistant"))) }
      if let text { delta.append(.init("content", .string(text))) }
      return .members(
        ("index", .integer(index)), ("delta", .object(delta)), ("logprobs", scores),
        ("finish_reason", end))
    }
  }

  private func scores(of tokens: [ScoredToken], after offset: Int) -> ChatValue {
    switch self {
    case .completion:
      var offset = offset
      let offsets = tokens.map { token in
        defer { offset += token.text.unicodeScalars.count }
        return ChatValue.integer(offset)
      }
      return .members(
        ("tokens", .array(tokens.map { .string($0.text) })),
        ("token_logprobs", .array(tokens.map { .finite($0.logProbability) })),
        (
          "top_logprobs",
          .array(
            tokens.map { token in
              .object(token.likeliest.map { .init($0.text, .finite($0.logProbability)) })
            })
        ),
        ("text_offset", .array(offsets)))
    case .chat:
      let content = tokens.map { token in
        Self.score(
          token.text, token.logProbability,
          (
            "top_logprobs",
            .array(token.likeliest.map { Self.score($0.text, $0.logProbability) })
          ))
      }
      return .members(("content", .array(content)), ("refusal", .null))
    }
  }

  private static func score(
    _ text: String, _ logProbability: Double, _ others: (String, ChatValue)...
  ) -> ChatValue {
    let members: [(String, ChatValue)] =
      [
        ("token", .string(text)), ("logprob", .finite(logProbability)),
        ("bytes", .array(text.utf8.map { .integer(Int($0)) })),
      ] + others
    return .object(members.map { .init($0.0, $0.1) })
  }
}

extension ChatValue {
  /// The logarithm of a probability as a number that JSON has: that of 0 becomes −9999, as elsewhere.
  fileprivate static func finite(_ logarithm: Double) -> ChatValue {
    .number(max(logarithm, -9999))
  }
}
