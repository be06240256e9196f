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
public struct TokenGenerator: Sendable {
  private let model: LanguageModel
  private let options: GenerationOptions
  private var sampler: Sampler
  private var cache: LanguageModel.Cache
  /// The tokens that the model has not read yet.
  private var unread: [Int32]
  /// The last tokens generated, as many as the longest stop sequence has.
  private var tail: [Int32] = []
  private var isDone: Bool

  /// How many tokens have been generated.
  public private(set) var count = 0

  /// The memory that the model's caches take.
  public var cacheByteCount: Int { cache.byteCount }

  /// - Parameters:
  ///   - model: what continues the prompt.
  ///   - prompt: at least one token, each below the model's vocabulary size. The first call of
  ///     ``next()`` reads it.
  ///   - options: how tokens are chosen, and when to stop.
  /// - Throws: ``GenerationError/invalidArgument(_:was:mustBe:)``.
  public init(_ model: LanguageModel, prompt: [Int32], options: GenerationOptions) throws {
    let vocabulary = model.vocabularySize
    guard !prompt.isEmpty else {
      throw GenerationError.invalidArgument("prompt", was: "empty", mustBe: "at least one token")
    }
    if let token = prompt.first(where: { $0 < 0 || Int($0) >= vocabulary }) {
      throw GenerationError.invalidArgument(
        "prompt", was: "with the token \(token)", mustBe: "of tokens in 0..<\(vocabulary)")
    }
    self.model = model
    self.options = options
    sampler = try Sampler(options)
    cache = model.makeCache()
    unread = prompt
    isDone = options.maximumTokens == 0
  }

  /// The next token; nil after the last.
  ///
  /// - Throws: ``GenerationError``, or what the model throws.
  public mutating func next() throws -> Int32? {
    guard !isDone else { return nil }
    let token = try sampler.next(read())
    guard !options.endTokens.contains(token) else {
      isDone = true
      return nil
    }
    count += 1
    unread = [token]
    let longest = options.stopSequences.map(\.count).max() ?? 0
    tail = (tail + [token]).suffix(longest)
    isDone =
      count == options.maximumTokens
      || options.stopSequences.contains { tail.suffix($0.count).elementsEqual($0) }
    return token
  }

  /// Reads the unread tokens and returns the logits after them.
  private mutating func read() throws -> [Float] {
    var logits: Tensor?
    while !unread.isEmpty {
      let piece = unread.prefix(options.prefillLength)
      logits = try model.step(
        Tensor(Array(piece), [1, piece.count]), cache: &cache, onlyLast: true)
      unread.removeFirst(piece.count)
    }
    return try logits?.elements(as: Float.self) ?? []
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
