import AttentionCLibrary
import AttentionLanguageModels

/// A server's answers to requests, whatever carries them: OpenAI's interface over a model, and what watches it.
///
/// | request | answer |
/// | --- | --- |
/// | `POST /v1/completions` | continuations of `prompt` |
/// | `POST /v1/chat/completions` | the next message after `messages` |
/// | `GET /v1/models`, `GET /v1/models/NAME` | the model |
/// | `GET /health` | `ok`, or with status 503 `draining` |
/// | `GET /metrics` | numbers for Prometheus |
/// | `GET /` | a page that shows them, with a chat |
public struct Service: Sendable {
  public let engine: Engine
  /// What the interface calls the model.
  public let name: String
  private let chat: ChatPrompt
  private let key: String?
  private let started = Int(time(nil))

  /// - Parameters:
  ///   - engine: generates the answers.
  ///   - name: what the interface calls the model.
  ///   - chat: how messages become a prompt.
  ///   - key: what requests must bear as `Authorization: Bearer KEY`, those for `/` and `/health` excepted; nil
  ///     for none.
  public init(engine: Engine, name: String, chat: ChatPrompt = .plain, key: String? = nil) {
    self.engine = engine
    self.name = name
    self.chat = chat
    self.key = key
  }

  /// A request without its body.
  public struct Request: Sendable {
    public var method: String
    /// Without what follows a question mark.
    public var path: String
    /// Who sends it: clients take turns.
    public var client: String
    /// The value of a header; nil if there is none.
    public var header: @Sendable (String) -> String?

    public init(
      method: String, path: String, client: String = "",
      header: @escaping @Sendable (String) -> String? = { _ in nil }
    ) {
      self.method = method
      self.path = path
      self.client = client
      self.header = header
    }
  }

  /// An answer.
  public struct Reply: Sendable {
    public var status: Int
    public var contentType: String
    /// Further headers.
    public var headers: [(name: String, value: String)] = []
    public var body: Body

    public enum Body: Sendable {
      case bytes([UInt8])
      case stream(EventStream)
    }
  }

  /// The answer to a request whose body is not worth reading: without the key, to no path there is, or while the
  /// server ends. Otherwise nil.
  public func refusal(of request: Request) -> Reply? {
    do { try check(request) } catch { return counted(Self.reply(error)) }
    return nil
  }

  /// The answer to a request, when all of it is there. If the task that waits for it is cancelled, generation
  /// ends.
  ///
  /// - Parameters:
  ///   - request: one that ``refusal(of:)`` does not refuse.
  ///   - body: its body, of at most ``ServingLimits/bodyBytes``.
  public func reply(to request: Request, body: [UInt8] = []) async -> Reply {
    switch begin(request, body: body) {
    case .reply(let reply): reply
    case .pending(let pending): await finish(pending)
    }
  }

  /// Begins to answer a request.
  ///
  /// - Parameters: those of ``reply(to:body:)``.
  public func begin(_ request: Request, body: [UInt8] = []) -> Begun {
    do {
      try check(request)
      guard body.count <= engine.limits.bodyBytes else {
        throw APIError.bodyTooLarge(limit: engine.limits.bodyBytes)
      }
      let begun = try answer(request, body)
      if case .reply(let reply) = begun { return .reply(counted(reply)) }
      return begun
    } catch let error as APIError {
      return .reply(counted(Self.reply(error)))
    } catch {
      // What reading messages and prompts throws is the request's fault.
      return .reply(counted(Self.reply(.invalid(nil, "\(error)"))))
    }
  }

  /// The whole of an answer that was not streamed. If the task that waits for it is cancelled, generation ends.
  public func finish(_ pending: Pending) async -> Reply {
    var answer = pending.answer
    do { return counted(Self.json(try await answer.whole())) } catch {
      return counted(Self.reply(error))
    }
  }

  /// What is known as soon as a request has been read.
  public enum Begun: Sendable {
    case reply(Reply)
    /// The answer is being generated: ``Service/finish(_:)`` waits for it.
    case pending(Pending)
  }

  /// An answer that is being generated, and sent when it is whole.
  public struct Pending: Sendable {
    fileprivate let answer: Answer
  }

  /// The answer of an error that happened while the request was read.
  public func reply(to error: APIError) -> Reply { counted(Self.reply(error)) }

  private func counted(_ reply: Reply) -> Reply {
    engine.monitor.countAnswer(status: reply.status)
    return reply
  }

  /// The answer of an error.
  private static func reply(_ error: APIError) -> Reply {
    var reply = Self.json(error.json, status: error.status)
    if let seconds = error.retryAfter { reply.headers.append(("Retry-After", "\(seconds)")) }
    if error.status == 401 { reply.headers.append(("WWW-Authenticate", "Bearer")) }
    return reply
  }

  private static func json(_ value: ChatValue, status: Int = 200) -> Reply {
    Reply(status: status, contentType: "application/json", body: .bytes(Array(value.json.utf8)))
  }

  private static let paths = [
    "/": "GET", "/health": "GET", "/metrics": "GET", "/v1/models": "GET",
    "/v1/completions": "POST", "/v1/chat/completions": "POST",
  ]

  /// Checks all but the body.
  private func check(_ request: Request) throws(APIError) {
    try checkOrigin(request)
    if !["/", "/health"].contains(request.path) { try checkKey(request) }
    guard let method = Self.paths[request.path] ?? (isModel(request.path) ? "GET" : nil) else {
      throw APIError(
        status: 404, type: "invalid_request_error", code: "not_found",
        message: "there is no \(request.path.prefix(100))")
    }
    guard request.method == method else {
      throw APIError(
        status: 405, type: "invalid_request_error", code: "method_not_allowed",
        message: "\(request.path) takes \(method), not \(request.method.prefix(20))")
    }
    if method == "POST", engine.isDraining { throw APIError.refused(.draining) }
  }

  private func isModel(_ path: String) -> Bool { path == "/v1/models/" + name }

  private func answer(_ request: Request, _ body: [UInt8]) throws -> Begun {
    switch request.path {
    case "/v1/completions": try completion(request, fields(body))
    case "/v1/chat/completions": try chatCompletion(request, fields(body))
    default: .reply(page(request.path))
    }
  }

  /// What is there without generating: the pages of ``paths``, or the model.
  private func page(_ path: String) -> Reply {
    switch path {
    case "/":
      return Reply(
        status: 200, contentType: "text/html; charset=utf-8",
        headers: [("Content-Security-Policy", MonitorPage.policy)],
        body: .bytes(Array(MonitorPage.html.utf8)))
    case "/health":
      let isDraining = engine.isDraining
      return Self.json(
        .members(("status", .string(isDraining ? "draining" : "ok"))),
        status: isDraining ? 503 : 200)
    case "/metrics":
      return Reply(
        status: 200, contentType: "text/plain; version=0.0.4; charset=utf-8",
        body: .bytes(Array(engine.monitor.snapshot.prometheus(limits: engine.limits).utf8)))
    case "/v1/models":
      return Self.json(.members(("object", .string("list")), ("data", .array([model]))))
    default: return Self.json(model)
    }
  }

  private var model: ChatValue {
    .members(
      ("id", .string(name)), ("object", .string("model")), ("created", .integer(started)),
      ("owned_by", .string("local")))
  }

  // MARK: Access

  /// Refuses what a page of another site makes a browser send.
  private func checkOrigin(_ request: Request) throws(APIError) {
    guard let origin = request.header("Origin") else { return }
    let host = request.header("Host") ?? ""
    guard !host.isEmpty, origin == "http://\(host)" || origin == "https://\(host)" else {
      throw APIError(
        status: 403, type: "invalid_request_error", code: "foreign_origin",
        message: "pages of other origins may not use this server")
    }
  }

  private func checkKey(_ request: Request) throws(APIError) {
    guard let key else { return }
    let given = Array((request.header("Authorization") ?? "").utf8)
    let wanted = Array("Bearer \(key)".utf8)
    // All bytes are compared, so that the time says nothing about the first wrong one.
    let difference = wanted.indices.reduce(UInt8(given.count == wanted.count ? 0 : 1)) {
      $0 | (wanted[$1] ^ (given.indices.contains($1) ? given[$1] : 0))
    }
    guard difference == 0 else {
      throw APIError(
        status: 401, type: "invalid_request_error", code: "invalid_api_key",
        message: "the request bears no valid key: Authorization: Bearer KEY")
    }
  }

  // MARK: Answers

  private func fields(_ body: [UInt8]) throws -> RequestFields {
    let fields = try RequestFields(body)
    if let wanted = try fields.string("model"), wanted != name {
      throw APIError(
        status: 404, type: "invalid_request_error", code: "model_not_found", parameter: "model",
        message: "there is no model \(wanted.prefix(100)); this server has \(name)")
    }
    return fields
  }

  private func completion(_ request: Request, _ fields: RequestFields) throws -> Begun {
    let options = try AnswerOptions(fields, model: engine.model, limits: engine.limits)
    let likeliest = try fields.integer("logprobs", in: 0...AnswerOptions.mostLikeliest)
    let tasks = try options.tasks(
      prompts: try prompts(fields["prompt"]), defaultTokens: Self.completionTokens,
      likeliest: likeliest, limits: engine.limits)
    return try send(.completion, tasks, options, request)
  }

  /// The number of tokens of a completion that names none, as in OpenAI's interface.
  private static let completionTokens = 16

  private func chatCompletion(_ request: Request, _ fields: RequestFields) throws -> Begun {
    var options = try AnswerOptions(fields, model: engine.model, limits: engine.limits)
    options.stops += chat.stops
    let likeliest = try fields.integer("top_logprobs", in: 0...AnswerOptions.mostLikeliest)
    let wantsScores = try fields.bool("logprobs") ?? false
    guard wantsScores || likeliest == nil else {
      throw APIError.invalid("logprobs", was: "false", mustBe: "true where top_logprobs is given")
    }
    let text = try chat.text(of: fields["messages"])
    let tasks = try options.tasks(
      prompts: [try engine.model.tokens(ofConversation: text)],
      defaultTokens: engine.limits.answerTokens, likeliest: wantsScores ? likeliest ?? 0 : nil,
      limits: engine.limits)
    return try send(.chat, tasks, options, request)
  }

  private func send(
    _ form: AnswerForm, _ tasks: [GenerationTask], _ options: AnswerOptions, _ request: Request
  ) throws -> Begun {
    let submission: Engine.Submission
    do { submission = try engine.submit(tasks, client: request.client) } catch {
      guard let refusal = error as? Engine.Refusal else { throw error }
      throw APIError.refused(refusal)
    }
    let answer = Answer(
      form: form, model: name, tasks: tasks, options: options, submission: submission)
    guard options.isStream else { return .pending(Pending(answer: answer)) }
    return .reply(
      Reply(
        status: 200, contentType: "text/event-stream", headers: [("Cache-Control", "no-cache")],
        body: .stream(EventStream(answer: answer))))
  }

  /// The tokens of the prompts: a text, tokens, or an array of either.
  private func prompts(_ value: ChatValue?) throws -> [[Int32]] {
    let wrong = "a string, an array of token numbers, or an array of these"
    func tokens(_ values: [ChatValue]) throws -> [Int32] {
      try values.map { value in
        guard case .integer(let number) = value, number >= 0,
          number < engine.model.model.vocabularySize
        else {
          throw APIError.invalid(
            "prompt", was: "with the token \(value.summary)",
            mustBe: "of tokens in 0..<\(engine.model.model.vocabularySize)")
        }
        return Int32(number)
      }
    }
    switch value {
    case .string(let text)?: return [try engine.model.tokens(of: text)]
    case .array(let values)?:
      if case .integer? = values.first { return [try tokens(values)] }
      guard !values.isEmpty, values.count <= engine.limits.choices else {
        throw APIError.invalid(
          "prompt", was: "an array of \(values.count)",
          mustBe: "\(wrong), at most \(engine.limits.choices)")
      }
      return try values.map { value in
        switch value {
        case .string(let text): return try engine.model.tokens(of: text)
        case .array(let values): return try tokens(values)
        default: throw APIError.invalid("prompt", was: "with \(value.summary)", mustBe: wrong)
        }
      }
    default:
      throw APIError.invalid("prompt", was: value?.summary ?? "missing", mustBe: wrong)
    }
  }
}
