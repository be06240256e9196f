import AttentionLanguageModels

/// An error as the interface reports it: a status, and an object that says what was wrong.
public struct APIError: Error, Hashable, Sendable {
  /// The status of the answer.
  public var status: Int
  /// The kind of error in the interface's words.
  public var type: String
  /// The error in one word, for programs.
  public var code: String?
  /// The field of the request that is wrong.
  public var parameter: String?
  /// What happened, in words.
  public var message: String
  /// After how many seconds the request may succeed; nil if it will not.
  public var retryAfter: Int?

  public init(
    status: Int, type: String, code: String? = nil, parameter: String? = nil, message: String,
    retryAfter: Int? = nil
  ) {
    self.status = status
    self.type = type
    self.code = code
    self.parameter = parameter
    self.message = message
    self.retryAfter = retryAfter
  }

  /// A field of a request with an invalid value.
  static func invalid(
    _ parameter: String?, _ message: String, code: String? = nil
  ) -> APIError {
    APIError(
      status: 400, type: "invalid_request_error", code: code, parameter: parameter,
      message: message)
  }

  /// A field of a request: what it was and what it must be.
  static func invalid(_ parameter: String, was: String, mustBe: String) -> APIError {
    invalid(parameter, "\(parameter) is \(was); it must be \(mustBe)")
  }

  /// A body with more bytes than are read.
  public static func bodyTooLarge(limit: Int) -> APIError {
    APIError(
      status: 413, type: "invalid_request_error", code: "request_too_large",
      message: "the body has more than \(limit) bytes")
  }

  /// A body that did not arrive in time.
  public static let bodyTooSlow = APIError(
    status: 408, type: "invalid_request_error", code: "request_timeout",
    message: "the body of the request did not arrive in time")

  /// The error of a request that the engine refuses.
  static func refused(_ refusal: Engine.Refusal) -> APIError {
    switch refusal {
    case .full:
      APIError(
        status: 429, type: "rate_limit_error", code: "queue_full",
        message: "too many requests wait already", retryAfter: 1)
    case .draining:
      APIError(
        status: 503, type: "server_error", code: "shutting_down",
        message: "the server is shutting down", retryAfter: 5)
    case .tooLarge(let needed, let limit):
      .invalid(
        "max_tokens",
        "the prompt and its answer may need \(needed) bytes of state; the server has \(limit)",
        code: "context_length_exceeded")
    }
  }

  /// The error of a sequence that was given up.
  static func failed(_ failure: GenerationFailure) -> APIError {
    switch failure {
    case .timeout:
      APIError(
        status: 504, type: "server_error", code: "timeout",
        message: "the answer was not finished in the time that the server allows")
    case .shutdown:
      APIError(
        status: 503, type: "server_error", code: "shutting_down",
        message: "the server is shutting down", retryAfter: 5)
    case .model(let reason):
      APIError(
        status: 500, type: "server_error", code: "model_error", message: "the model: \(reason)")
    }
  }

  /// The object of the answer's body.
  var json: ChatValue {
    .members(
      (
        "error",
        .members(
          ("message", .string(message)), ("type", .string(type)),
          ("param", parameter.map { .string($0) } ?? .null),
          ("code", code.map { .string($0) } ?? .null))
      ))
  }
}

extension ChatValue {
  /// An object.
  static func members(_ members: (String, ChatValue)...) -> ChatValue {
    .object(members.map { Member($0.0, $0.1) })
  }
}
