import AttentionTensors

/// Continues a prompt token by token.
///
///     var generator = try TokenGenerator(model, prompt: tokenizer.encode("func "), options: options)
///     var text = StreamingDecoder()
///     while let token = try generator.next() { print(text.append(token), terminator: "") }
///     print(text.finish())
///
/// Time and memory per token do not depend on how many came before, except in exact attention layers
/// without a window, whose keys and values grow by one row per token.
///
/// A copy is an independent continuation.
public struct TokenGenerator: Sendable {
  private let model: LanguageModel
  private let options: GenerationOptions
  private var sampler: Sampler
  private var cache: LanguageModel.Cache
  /// The tokens that the model has not read yet.
  private var unread: [Int32]
  /// The logits after the tokens that it has read; empty before the first.
  private var logits: [Float] = []
  /// All tokens, read or not.
  private var text: [Int32]
  /// States after guessed tokens, the next first: they count if the tokens are chosen.
  private var ahead: [Guess] = []
  private var isDone: Bool

  private struct Guess {
    let token: Int32
    let cache: LanguageModel.Cache
    let logits: [Float]
  }

  /// How many tokens have been generated.
  public private(set) var count = 0
  /// How many tokens have been guessed, and how many of them right (see ``GenerationOptions/guessLength``).
  public private(set) var guessCount = 0
  public private(set) var rightGuessCount = 0
  private var choiceCount = 0

  /// The memory that the model's caches take.
  public var cacheByteCount: Int { cache.byteCount }

  /// - Parameters:
  ///   - model: what continues the prompt.
  ///   - prompt: at least one token, each below the model's vocabulary size. The first call of
  ///     ``next()`` reads it.
  ///   - options: how tokens are chosen, and when to stop.
  /// - Throws: ``GenerationError/invalidArgument(_:was:mustBe:)``.
  public init(_ model: LanguageModel, prompt: [Int32], options: GenerationOptions) throws {
    guard !prompt.isEmpty else {
      throw GenerationError.invalidArgument("prompt", was: "empty", mustBe: "at least one token")
    }
    try self.init(model, cache: model.makeCache(), prompt: prompt, options: options)
    text = prompt
  }

  /// Continues a state.
  ///
  /// - Parameters:
  ///   - model: the model of the state.
  ///   - state: where to begin. The random choices go on where those of the state ended.
  ///   - prompt: further tokens to read first, each below the model's vocabulary size.
  ///   - options: how tokens are chosen, and when to stop.
  /// - Throws: ``GenerationError/invalidArgument(_:was:mustBe:)``.
  public init(
    _ model: LanguageModel, continuing state: GenerationState, prompt: [Int32] = [],
    options: GenerationOptions
  ) throws {
    try self.init(model, cache: state.cache, prompt: prompt, options: options)
    sampler = try Sampler(options, skipping: state.choiceCount)
    choiceCount = state.choiceCount
    logits = state.logits
    text = state.tokens + prompt
  }

  private init(
    _ model: LanguageModel, cache: LanguageModel.Cache, prompt: [Int32],
    options: GenerationOptions
  ) throws {
    let vocabulary = model.vocabularySize
    if let token = prompt.first(where: { $0 < 0 || Int($0) >= vocabulary }) {
      throw GenerationError.invalidArgument(
        "prompt", was: "with the token \(token)", mustBe: "of tokens in 0..<\(vocabulary)")
    }
    guard options.guessLength == 0 || model.device == .cpu else {
      throw GenerationError.invalidArgument(
        "guessLength", was: "\(options.guessLength) on \(model.device)", mustBe: "0 but on cpu")
    }
    self.model = model
    self.options = options
    self.cache = cache
    sampler = try Sampler(options)
    unread = prompt
    text = prompt
    isDone = options.maximumTokens == 0
  }

  /// The next token; nil after the last.
  ///
  /// - Throws: ``GenerationError``, or what the model throws.
  public mutating func next() throws -> Int32? {
    guard !isDone else { return nil }
    try read()
    let token = try sampler.next(logits)
    choiceCount += 1
    guard !options.endTokens.contains(token) else {
      isDone = true
      return nil
    }
    count += 1
    text.append(token)
    take(token)
    isDone =
      count == options.maximumTokens
      || options.stopSequences.contains { text.suffix(min(count, $0.count)).elementsEqual($0) }
    return token
  }

  /// The state after all tokens so far, which it reads.
  ///
  /// - Throws: what the model throws.
  public mutating func state() throws -> GenerationState {
    try read()
    return GenerationState(tokens: text, choiceCount: choiceCount, cache: cache, logits: logits)
  }

  /// Goes on with a chosen token: to the state after it, if it was guessed.
  private mutating func take(_ token: Int32) {
    guard let guess = ahead.first, guess.token == token else {
      ahead = []
      return unread = [token]
    }
    ahead.removeFirst()
    rightGuessCount += 1
    (cache, logits) = (guess.cache, guess.logits)
  }

  /// Reads the unread tokens, and guessed ones with a single one.
  private mutating func read() throws {
    let guesses =
      unread.count == 1 && !logits.isEmpty
      ? PromptLookup.guess(after: text, count: options.guessLength) : []
    guard guesses.isEmpty else { return try read(guesses) }
    while !unread.isEmpty {
      let piece = unread.prefix(options.prefillLength)
      let last = try model.step(
        Tensor(Array(piece), [1, piece.count]), cache: &cache, onlyLast: true)
      unread.removeFirst(piece.count)
      if unread.isEmpty { logits = try last.elements(as: Float.self) }
    }
  }

  private mutating func read(_ guesses: [Int32]) throws {
    let (rows, caches) = try model.stepThrough(unread + guesses, after: cache)
    let all = try rows.elements(as: Float.self)
    let width = model.vocabularySize
    func row(_ index: Int) -> [Float] { Array(all[index * width..<(index + 1) * width]) }
    (cache, logits, unread) = (caches[0], row(0), [])
    guessCount += guesses.count
    ahead = guesses.enumerated().map {
      Guess(token: $1, cache: caches[$0 + 1], logits: row($0 + 1))
    }
  }
}

extension LanguageModel {
  /// Continues `prompt` and returns the generated tokens.
  ///
  /// - Parameters:
  ///   - prompt: at least one token, each below the model's vocabulary size.
  ///   - options: how tokens are chosen, and when to stop.
  ///   - onToken: called with each token as it is generated; returning false ends generation.
  /// - Throws: ``GenerationError``, or what the model or `onToken` throws.
  @discardableResult
  public func generate(
    prompt: [Int32], options: GenerationOptions, onToken: (Int32) throws -> Bool = { _ in true }
  ) throws -> [Int32] {
    var generator = try TokenGenerator(self, prompt: prompt, options: options)
    var tokens: [Int32] = []
    while let token = try generator.next() {
      tokens.append(token)
      guard try onToken(token) else { break }
    }
    return tokens
  }
}
