import AttentionLanguageModels

/// One sequence to generate: a prompt, and how it is continued.
public struct GenerationTask: Sendable {
  /// The tokens of the prompt, at least one.
  public var prompt: [Int32]
  /// How tokens are chosen; `maximumTokens` is given. `stopSequences` and `prefillLength` are not used.
  public var options: GenerationOptions
  /// The answer ends before any of these texts, none of which is empty.
  public var stops: [String] = []
  /// With each token, its logarithmic probability and those of this many of the most likely; nil for none.
  public var likeliest: Int?
  /// Whether the answer must be a JSON object.
  public var isJSON = false

  public init(prompt: [Int32], options: GenerationOptions) {
    self.prompt = prompt
    self.options = options
  }
}

/// What happens to a sequence, in order: ``begun(reusedTokens:)``, any number of pieces, and an end.
public enum GenerationEvent: Sendable {
  /// The whole prompt has been read, of which so many tokens came from states of earlier requests.
  case begun(reusedTokens: Int)
  /// Text that one or more tokens gave, and these tokens if their probabilities are wanted.
  case text(String, [ScoredToken])
  /// The end, and how many tokens were generated.
  case finished(FinishReason, tokenCount: Int)
  /// The sequence ended by an error.
  case failed(GenerationFailure)
}

/// Why an answer ended.
public enum FinishReason: String, Sendable {
  /// The model ended it, or a stop text appeared, or a JSON object was complete.
  case stop
  /// It has the most tokens.
  case length
}

/// Why a sequence was given up.
public enum GenerationFailure: Error, Sendable {
  /// It took longer than ``ServingLimits/requestSeconds``.
  case timeout
  /// The server ends, and would not wait longer.
  case shutdown
  /// The model or the choice of a token failed, for this reason.
  case model(String)
}

/// A token with natural logarithms of probabilities of the model, at temperature 1 and before any restriction.
public struct ScoredToken: Sendable {
  public var token: Int32
  /// Its own text; U+FFFD in place of parts of characters.
  public var text: String
  public var logProbability: Double
  /// The most likely tokens, the likeliest first.
  public var likeliest: [Alternative]

  public struct Alternative: Sendable {
    public var text: String
    public var logProbability: Double
  }
}

/// Events of a request's sequences, each with its index in the request.
public struct IndexedEvent: Sendable {
  public var index: Int
  public var event: GenerationEvent
}
