import AttentionLanguageModels

/// What a server allows. Every limit has a default that suits one machine and strangers' requests.
public struct ServingLimits: Hashable, Sendable {
  /// Sequences that are generated at once; each of the `n` choices of a request is one.
  public var runningSequences = 64
  /// Sequences that wait for one of those places; more are answered with status 429.
  public var waitingSequences = 256
  /// The most tokens of a prompt and its answer together.
  public var contextTokens = 32_768
  /// The most tokens of an answer, and their number in a chat that names none.
  public var answerTokens = 4096
  /// The most choices of a request: `n` for each of its prompts.
  public var choices = 16
  /// The most sequences at which an answer ends.
  public var stopStrings = 16
  /// The most bytes of a request's body; more are answered with status 413.
  public var bodyBytes = 4 << 20
  /// The memory of the caches of all running sequences, in bytes.
  public var stateBytes = 4 << 30
  /// The memory of states kept for later requests with the same beginning, in bytes; 0 keeps none.
  public var prefixBytes = 256 << 20
  /// The longest time from a request's arrival to its end, in seconds.
  public var requestSeconds = 600.0
  /// How long prompts may be read between two steps of the answers under way, in seconds. At least one piece
  /// is read.
  public var prefillSeconds = 0.05
  /// Prompts are read in pieces of this many tokens, as `attention generate` reads them: other pieces give
  /// logits that differ by rounding.
  public var pieceLength = GenerationOptions().prefillLength

  public init() {}

  /// - Throws: ``ServingError/invalidArgument(_:was:mustBe:)`` for the first invalid limit.
  public func validate() throws {
    func require(_ holds: Bool, _ name: String, _ was: Any, _ mustBe: String) throws {
      guard holds else {
        throw ServingError.invalidArgument(name, was: "\(was)", mustBe: mustBe)
      }
    }
    let counts = [
      ("runningSequences", runningSequences), ("waitingSequences", waitingSequences),
      ("contextTokens", contextTokens), ("answerTokens", answerTokens), ("choices", choices),
      ("stopStrings", stopStrings), ("bodyBytes", bodyBytes), ("stateBytes", stateBytes),
      ("pieceLength", pieceLength),
    ]
    for (name, count) in counts { try require(count >= 1, name, count, "at least 1") }
    try require(prefixBytes >= 0, "prefixBytes", prefixBytes, "at least 0")
    try require(
      requestSeconds > 0 && requestSeconds.isFinite, "requestSeconds", requestSeconds, "above 0")
    try require(
      prefillSeconds >= 0 && prefillSeconds.isFinite, "prefillSeconds", prefillSeconds,
      "at least 0")
  }
}

/// An error in the settings of a server.
public enum ServingError: Error, Hashable, CustomStringConvertible {
  /// An argument has an invalid value: its name, what it was and what it must be.
  case invalidArgument(_ name: String, was: String, mustBe: String)

  public var description: String {
    switch self {
    case .invalidArgument(let name, let was, let mustBe): "\(name) is \(was); it must be \(mustBe)"
    }
  }
}
