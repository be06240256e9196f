import AttentionLanguageModels
import AttentionTensors

/// How much memory the caches of a sequence take, measured on the model.
///
/// Recurrent states take the same from the first token on; keys and values grow with each. Windows bound that,
/// so the estimate is from above.
struct StateEstimate: Sendable {
  let fixed: Int
  let perToken: Double

  /// Measures the caches after two numbers of tokens.
  ///
  /// - Throws: what the model throws.
  init(_ model: LanguageModel) throws {
    var cache = model.makeCache()
    func bytes(afterMore count: Int) throws -> Int {
      let tokens = try Tensor([Int32](repeating: 0, count: count), [1, count])
      _ = try model.step(tokens, cache: &cache, onlyLast: true)
      return cache.byteCount
    }
    let first = try bytes(afterMore: Self.tokens)
    // Keys and values have room for twice as many rows as when they last grew, so more than twice as many tokens
    // make them grow again.
    let second = try bytes(afterMore: Self.tokens + 1)
    perToken = Double(max(0, second - first)) / Double(Self.tokens + 1)
    fixed = max(0, second - Int(perToken * Double(2 * Self.tokens + 1)))
  }

  private static let tokens = 64

  /// The memory after `tokens` tokens, in bytes.
  func bytes(_ tokens: Int) -> Int { fixed + Int(perToken * Double(tokens)) }
}
