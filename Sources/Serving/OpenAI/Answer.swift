import AttentionCLibrary
import AttentionLanguageModels

/// An answer under way: what its parts have in common, and the numbers of tokens so far.
struct Answer: Sendable {
  let form: AnswerForm
  let model: String
  let submission: Engine.Submission
  /// The sequences of each prompt.
  let choicesOfPrompt: Int
  let wantsScores: Bool
  let includesUsage: Bool
  private let identifier: String
  private let created: Int
  private let promptTokens: Int
  private(set) var choices: [Choice]

  /// What is known of a choice.
  struct Choice: Sendable {
    var text = ""
    var tokens: [ScoredToken] = []
    var reused = 0
    var count = 0
    var reason: FinishReason?
    var hasBegun = false
    /// The length of a streamed text, in characters.
    var length = 0
  }

  init(
    form: AnswerForm, model: String, tasks: [GenerationTask], options: AnswerOptions,
    submission: Engine.Submission
  ) {
    self.form = form
    self.model = model
    self.submission = submission
    choicesOfPrompt = options.count
    wantsScores = tasks.first?.likeliest != nil
    includesUsage = options.includesUsage
    identifier =
      form.identifierPrefix + String(UInt64.random(in: 0...UInt64.max), radix: 36)
    created = Int(time(nil))
    choices = tasks.map { _ in Choice() }
    promptTokens = stride(from: 0, to: tasks.count, by: options.count)
      .reduce(0) { $0 + tasks[$1].prompt.count }
  }

  /// The whole answer, when all of it is there.
  ///
  /// - Throws: ``APIError`` if a sequence was given up.
  mutating func whole() async throws(APIError) -> ChatValue {
    for await event in submission.events {
      let index = event.index
      switch event.event {
      case .begun(let reused): choices[index].reused = reused
      case .text(let text, let tokens):
        choices[index].text += text
        choices[index].tokens += tokens
      case .finished(let reason, let count):
        choices[index].reason = reason
        choices[index].count = count
      case .failed(let failure): throw APIError.failed(failure)
      }
    }
    var values: [ChatValue] = []
    for (index, choice) in choices.enumerated() {
      guard let reason = choice.reason else { throw APIError.failed(.shutdown) }
      values.append(
        form.choice(
          index, text: choice.text, tokens: wantsScores ? choice.tokens : nil, reason: reason))
    }
    return object(choices: values, isPart: false, usage: usage)
  }

  /// The parts of a streamed answer that an event gives.
  mutating func parts(of event: IndexedEvent) throws(APIError) -> [ChatValue] {
    let index = event.index
    switch event.event {
    case .begun(let reused):
      choices[index].reused = reused
      // A chat's stream begins with the role, as soon as the prompt has been read.
      return form == .chat ? [part(index, text: "", tokens: nil, reason: nil)] : []
    case .text(let text, let tokens):
      return [part(index, text: text, tokens: tokens, reason: nil)]
    case .finished(let reason, let count):
      choices[index].count = count
      choices[index].reason = reason
      return [part(index, text: nil, tokens: nil, reason: reason)]
    case .failed(let failure): throw APIError.failed(failure)
    }
  }

  /// The part that ends a stream with the numbers of tokens; nil if they are not wanted.
  var usagePart: ChatValue? {
    includesUsage ? object(choices: [], isPart: true, usage: usage) : nil
  }

  private mutating func part(
    _ index: Int, text: String?, tokens: [ScoredToken]?, reason: FinishReason?
  ) -> ChatValue {
    let part = form.part(
      index, text: text, isFirst: !choices[index].hasBegun, tokens: wantsScores ? tokens : nil,
      offset: choices[index].length, reason: reason)
    choices[index].hasBegun = true
    choices[index].length += text?.unicodeScalars.count ?? 0
    return object(choices: [part], isPart: true, usage: includesUsage ? .null : nil)
  }

  private func object(choices: [ChatValue], isPart: Bool, usage: ChatValue?) -> ChatValue {
    var members: [ChatValue.Member] = [
      .init("id", .string(identifier)), .init("object", .string(form.object(isPart: isPart))),
      .init("created", .integer(created)), .init("model", .string(model)),
      .init("choices", .array(choices)),
    ]
    if let usage { members.append(.init("usage", usage)) }
    return .object(members)
  }

  /// The numbers of tokens: those of a prompt count once, however many answers it has.
  private var usage: ChatValue {
    let answers = choices.reduce(0) { $0 + $1.count }
    let reused = stride(from: 0, to: choices.count, by: choicesOfPrompt)
      .reduce(0) { $0 + choices[$1].reused }
    return .members(
      ("prompt_tokens", .integer(promptTokens)), ("completion_tokens", .integer(answers)),
      ("total_tokens", .integer(promptTokens + answers)),
      ("prompt_tokens_details", .members(("cached_tokens", .integer(reused)))))
  }
}

/// A streamed answer as server-sent events: each element is one or more whole events.
public struct EventStream: AsyncSequence, Sendable {
  let answer: Answer

  /// Ends the generation, and the events with it.
  public func cancel() { answer.submission.cancel() }

  public struct AsyncIterator: AsyncIteratorProtocol {
    private var answer: Answer
    private var events: AsyncStream<IndexedEvent>.Iterator
    private var isDone = false

    fileprivate init(_ answer: Answer) {
      self.answer = answer
      events = answer.submission.events.makeAsyncIterator()
    }

    public mutating func next() async -> [UInt8]? {
      while !isDone {
        guard let event = await events.next() else {
          isDone = true
          // Ended before its time: the client has gone.
          guard answer.choices.allSatisfy({ $0.reason != nil }) else { return nil }
          let last = answer.usagePart.map(Self.event) ?? []
          return last + Array("data: [DONE]\n\n".utf8)
        }
        do throws(APIError) {
          let parts = try answer.parts(of: event)
          if !parts.isEmpty { return parts.flatMap(Self.event) }
        } catch {
          isDone = true
          return Self.event(error.json)
        }
      }
      return nil
    }

    private static func event(_ value: ChatValue) -> [UInt8] {
      Array("data: \(value.json)\n\n".utf8)
    }
  }

  public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(answer) }
}
