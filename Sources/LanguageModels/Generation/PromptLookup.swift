/// Guesses how a text goes on by what followed the last time that it had the same last tokens.
///
/// Reference: Saxena, *Prompt lookup decoding* (2023).
struct PromptLookup: Sendable {
  private static let longestMatch = 3
  private static let shortestMatch = 2

  /// The tokens that followed the latest earlier place with the same last tokens, the most of them first.
  ///
  /// - Parameters:
  ///   - text: all tokens so far.
  ///   - count: the most tokens to guess.
  /// - Returns: none if there is no such place.
  static func guess(after text: [Int32], count: Int) -> [Int32] {
    guard count > 0 else { return [] }
    for length in stride(from: longestMatch, through: shortestMatch, by: -1)
    where text.count > length {
      let last = text.suffix(length)
      var start = text.count - length - 1
      while start >= 0 {
        if text[start..<start + length].elementsEqual(last) {
          return Array(text[(start + length)...].prefix(count))
        }
        start -= 1
      }
    }
    return []
  }
}
