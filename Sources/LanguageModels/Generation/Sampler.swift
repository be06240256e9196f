import AttentionCLibrary
import AttentionTensors

/// Chooses tokens from logits. The n-th choice depends only on the options, the n-th logits and n.
public struct Sampler: Sendable {
  private let options: GenerationOptions
  private var generator: Philox

  /// - Parameters:
  ///   - options: how tokens are chosen.
  ///   - count: how many choices were made before.
  /// - Throws: ``GenerationError/invalidArgument(_:was:mustBe:)``.
  public init(_ options: GenerationOptions, skipping count: Int = 0) throws {
    try options.validate()
    self.options = options
    let stream = Philox(seed: options.seed, label: "generation")
    generator = Philox(seed: stream.key, position: UInt64(max(0, count)))
  }

  /// The next token.
  ///
  /// - Parameter logits: one for each token; −∞ is chosen only if all are −∞.
  /// - Throws: ``GenerationError``, if there are no logits or one is not a number.
  public mutating func next(_ logits: [Float]) throws -> Int32 {
    if let token = logits.firstIndex(where: \.isNaN) {
      throw GenerationError.notANumber(token: token)
    }
    guard let highest = logits.max() else {
      throw GenerationError.invalidArgument("logits", was: "empty", mustBe: "one for each token")
    }
    // Drawn even where it is not needed, so that the n-th choice uses the n-th random number.
    let draw = generator.nextUniform()
    guard options.temperature > 0, highest.isFinite else {
      return Int32(logits.firstIndex(of: highest) ?? 0)
    }
    let candidates = self.candidates(logits, highest: Double(highest))
    var left = draw * candidates.reduce(0) { $0 + $1.weight }
    for candidate in candidates {
      left -= candidate.weight
      if left < 0 { return Int32(candidate.token) }
    }
    // Rounding can leave a small remainder after the last candidate.
    return Int32(candidates[candidates.count - 1].token)
  }

  private struct Candidate {
    let token: Int
    /// The probability, up to a common factor.
    let weight: Double
  }

  /// The tokens that may be chosen, at least one. Equally likely tokens are ordered by their index.
  private func candidates(_ logits: [Float], highest: Double) -> [Candidate] {
    var candidates = logits.indices.map {
      Candidate(token: $0, weight: exp((Double(logits[$0]) - highest) / options.temperature))
    }
    guard options.topK != nil || options.topP != nil else { return candidates }
    candidates.sort { ($0.weight, $1.token) > ($1.weight, $0.token) }
    if let topK = options.topK { candidates = Array(candidates.prefix(topK)) }
    if let topP = options.topP {
      let enough = topP * candidates.reduce(0) { $0 + $1.weight }
      var sum = 0.0
      let last = candidates.firstIndex { candidate in
        sum += candidate.weight
        return sum >= enough
      }
      if let last { candidates = Array(candidates[...last]) }
    }
    return candidates
  }
}
