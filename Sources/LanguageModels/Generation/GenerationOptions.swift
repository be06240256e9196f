import AttentionCUDA

/// How tokens are chosen, and when generation ends.
public struct GenerationOptions: Hashable, Sendable {
  /// Logits are divided by this before the softmax; 0 chooses the most likely token.
  public var temperature = 1.0
  /// Only this many of the most likely tokens may be chosen; nil for all.
  public var topK: Int?
  /// Only the fewest most likely tokens whose probabilities sum to at least this may be chosen; nil
  /// for all.
  public var topP: Double?
  /// The seed of the random choices: the same seed gives the same tokens.
  public var seed: UInt64 = 0
  /// At most this many tokens are generated; nil for no limit.
  public var maximumTokens: Int?
  /// Generation ends before any of these tokens, which is not part of the output.
  public var endTokens: Set<Int32> = []
  /// Generation ends after any of these sequences, which is part of the output.
  public var stopSequences: [[Int32]] = []
  /// Prompts are read in pieces of this many tokens, which bounds the memory that a long one needs.
  public var prefillLength = 512

  /// The most tokens that are guessed from earlier ones after the same last tokens, and read in one call with the
  /// token before them; 0 guesses none. Tokens are the same with and without guesses, whatever the temperature: a
  /// guess counts if it is the token that is chosen then. On the CPU only.
  public var guessLength = 0

  public init(maximumTokens: Int? = nil) { self.maximumTokens = maximumTokens }

  /// Throws ``GenerationError/invalidArgument(_:was:mustBe:)`` for the first invalid value.
  public func validate() throws {
    func require(_ holds: Bool, _ name: String, _ was: Any, _ mustBe: String) throws {
      guard holds else {
        throw GenerationError.invalidArgument(name, was: "\(was)", mustBe: mustBe)
      }
    }
    try require(
      temperature >= 0 && temperature.isFinite, "temperature", temperature, "at least 0")
    if let topK { try require(topK >= 1, "topK", topK, "at least 1") }
    if let topP { try require(topP > 0 && topP <= 1, "topP", topP, "above 0 and at most 1") }
    if let maximumTokens {
      try require(maximumTokens >= 0, "maximumTokens", maximumTokens, "at least 0")
    }
    try require(
      stopSequences.allSatisfy { !$0.isEmpty }, "stopSequences", stopSequences,
      "without empty sequences")
    try require(guessLength >= 0, "guessLength", guessLength, "at least 0")
    try require(prefillLength >= 1, "prefillLength", prefillLength, "at least 1")
  }
}

/// An error in generation.
public enum GenerationError: Error, Hashable, CustomStringConvertible {
  /// An argument has an invalid value: its name, what it was and what it must be.
  case invalidArgument(_ name: String, was: String, mustBe: String)
  /// The model gives a logit that is not a number.
  case notANumber(token: Int)

  public var description: String {
    switch self {
    case .invalidArgument(let name, let was, let mustBe):
      "\(name.shown) is \(was.shown); it must be \(mustBe.shown)"
    case .notANumber(let token): "the model's logit of token \(token) is not a number"
    }
  }
}
