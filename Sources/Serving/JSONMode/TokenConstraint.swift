import AttentionLanguageModels

/// Restricts the choice of tokens to those whose text continues a JSON object.
///
/// A token is drawn as without a restriction; one that does not fit is excluded, and another is drawn. So the
/// tokens that fit keep the ratios of their probabilities.
struct TokenConstraint: Sendable {
  private var grammar = JSONGrammar()

  /// After so many tokens that did not fit, all others are tried too, each once.
  private static let attempts = 64

  /// Whether the object is complete: nothing may follow.
  var isComplete: Bool { grammar.isComplete }

  /// The next token.
  ///
  /// - Parameters:
  ///   - logits: one for each token.
  ///   - sampler: draws.
  ///   - decoder: of the text so far.
  ///   - endTokens: tokens that end a text, which an unfinished object excludes.
  /// - Throws: `GenerationError`, also if no token fits.
  mutating func next(
    _ logits: [Float], sampler: inout Sampler, decoder: any TokenDecoder, endTokens: Set<Int32>
  ) throws -> Int32 {
    var logits = logits
    for token in endTokens where logits.indices.contains(Int(token)) {
      logits[Int(token)] = -.infinity
    }
    for _ in 0..<Self.attempts {
      let token = try sampler.next(logits)
      guard logits[Int(token)] > -.infinity else { break }
      if let next = after(token, decoder) {
        grammar = next
        return token
      }
      logits[Int(token)] = -.infinity
    }
    for token in logits.indices where logits[token] > -.infinity {
      if after(Int32(token), decoder) == nil { logits[token] = -.infinity }
    }
    let token = try sampler.next(logits)
    guard logits[Int(token)] > -.infinity, let next = after(token, decoder) else {
      throw GenerationError.invalidArgument(
        "the vocabulary", was: "without a token that continues the JSON object",
        mustBe: "able to write JSON")
    }
    grammar = next
    return token
  }

  /// The state after a token; nil if its text does not fit.
  private func after(_ token: Int32, _ decoder: any TokenDecoder) -> JSONGrammar? {
    var decoder = decoder
    var next = grammar
    let text = decoder.append(token)
    if text.isEmpty {
      // The first bytes of a character, which only a string may have; or a token without text, which would
      // make no progress.
      return next.isInString && !decoder.finish().isEmpty ? next : nil
    }
    return next.accept(text) ? next : nil
  }
}
