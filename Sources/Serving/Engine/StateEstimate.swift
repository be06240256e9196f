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
    let (few, many) = (Self.few, 2 * Self.few)
    var cache = model.makeCache()
    func read(_ count: Int) throws -> Int {
      let tokens = try Tensor([Int32](repeating: 0, count: count), [1, count])
      _ = try model.step(tokens, cache: &cache, onlyLast: true)
      return cache.byteCount
    }
    let (first, second) = (try read(few), try read(many - few))
    perToken = Double(max(0, second - first)) / Double(many - few)
    fixed = max(0, second - Int(perToken * Double(many)))
  }

  private static let few = 64

  /// The memory after `tokens` tokens, in bytes.
  func bytes(_ tokens: Int) -> Int { fixed + Int(perToken * Double(tokens)) }
}
