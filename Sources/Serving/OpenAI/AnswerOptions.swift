import AttentionLanguageModels

/// What completions and chats have in common: how the answer is made, and how it is sent.
struct AnswerOptions {
  var generation: GenerationOptions
  var stops: [String]
  /// The answers to each prompt.
  var count: Int
  var isStream: Bool
  /// Whether a stream ends with a message of the numbers of tokens.
  var includesUsage: Bool
  var isJSON: Bool
  /// Given by the request.
  private let seed: UInt64?
  /// The number of tokens that the request allows; nil if it names none.
  private let maximumTokens: Int?

  /// The most alternatives of each token.
  static let mostLikeliest = 20

  /// - Throws: ``APIError`` for the first field that is invalid or not supported.
  init(_ fields: RequestFields, model: TextModel, limits: ServingLimits) throws {
    generation = model.options()
    generation.temperature = try fields.number("temperature", in: 0...2) ?? 1
    generation.topP = try fields.number("top_p", in: 0...1)
    if generation.topP == 0 {
      throw APIError.invalid("top_p", was: "0", mustBe: "above 0 and at most 1")
    }
    generation.topK = try fields.integer("top_k", in: 1...Int(Int32.max))
    seed = try fields.integer("seed", in: .min ... .max).map { UInt64(bitPattern: Int64($0)) }
    let names = ["max_completion_tokens", "max_tokens"]
    maximumTokens = try names.compactMap {
      try fields.integer($0, in: 1...Int(Int32.max))
    }.first
    count = try fields.integer("n", in: 1...limits.choices) ?? 1
    isStream = try fields.bool("stream") ?? false
    includesUsage = fields["stream_options"]?["include_usage"] == .bool(true)
    stops = try Self.stops(fields, limit: limits.stopStrings)
    isJSON = try Self.isJSON(fields)
    for name in ["presence_penalty", "frequency_penalty"] {
      try fields.refuse(name) { $0 == .integer(0) || $0 == .number(0) }
    }
    for name in ["logit_bias", "tools", "functions", "suffix", "modalities"] {
      try fields.refuse(name) {
        switch $0 {
        case .array(let values): values.isEmpty || values == [.string("text")]
        case .object(let members): members.isEmpty
        case .string(let text): text.isEmpty
        default: false
        }
      }
    }
    try fields.refuse("best_of") { [count] in $0 == .integer(count) }
    try fields.refuse("echo") { $0 == .bool(false) }
  }

  private static func stops(_ fields: RequestFields, limit: Int) throws -> [String] {
    let wrong = "a string that is not empty, or an array of at most \(limit)"
    let values: [ChatValue] =
      switch fields["stop"] {
      case nil: []
      case .array(let values)?: values
      case let value?: [value]
      }
    guard values.count <= limit else {
      throw APIError.invalid("stop", was: "an array of \(values.count)", mustBe: wrong)
    }
    return try values.map { value in
      guard case .string(let text) = value, !text.isEmpty else {
        throw APIError.invalid("stop", was: "with \(value.summary)", mustBe: wrong)
      }
      return text
    }
  }

  private static func isJSON(_ fields: RequestFields) throws -> Bool {
    guard let format = fields["response_format"] else { return false }
    switch format["type"] {
    case .string("text"): return false
    case .string("json_object"): return true
    default:
      throw APIError.invalid(
        "response_format", was: format["type"]?.summary ?? format.summary,
        mustBe: #"of the type "text" or "json_object""#)
    }
  }

  /// The sequences that answer `prompts`, those of the first prompt first.
  ///
  /// - Parameters:
  ///   - prompts: the tokens of each.
  ///   - defaultTokens: of an answer whose request names no number.
  ///   - likeliest: as ``GenerationTask/likeliest``.
  ///   - limits: of the server.
  /// - Throws: ``APIError``.
  func tasks(
    prompts: [[Int32]], defaultTokens: Int, likeliest: Int?, limits: ServingLimits
  ) throws -> [GenerationTask] {
    guard prompts.count * count <= limits.choices else {
      throw APIError.invalid(
        "n", was: "\(count) for each of \(prompts.count) prompts",
        mustBe: "at most \(limits.choices) answers in all")
    }
    return try prompts.flatMap { prompt in
      guard !prompt.isEmpty else {
        throw APIError.invalid("prompt", was: "empty", mustBe: "at least one token")
      }
      let room = limits.contextTokens - prompt.count
      guard room >= (maximumTokens ?? 1) else {
        throw APIError.invalid(
          "max_tokens",
          "the prompt has \(prompt.count) tokens and the answer up to \(maximumTokens ?? 1); "
            + "the server takes \(limits.contextTokens) in all",
          code: "context_length_exceeded")
      }
      let most = maximumTokens ?? min(room, defaultTokens)
      guard most <= limits.answerTokens else {
        throw APIError.invalid(
          "max_tokens", was: "\(most)", mustBe: "at most \(limits.answerTokens)")
      }
      return (0..<count).map { choice in
        var task = GenerationTask(prompt: prompt, options: generation)
        task.options.maximumTokens = most
        // Of several answers the first is the one that a single answer would be.
        task.options.seed =
          seed.map { $0 &+ UInt64(choice) } ?? UInt64.random(in: 0...UInt64.max)
        task.stops = stops
        task.likeliest = likeliest
        task.isJSON = isJSON
        return task
      }
    }
  }
}
