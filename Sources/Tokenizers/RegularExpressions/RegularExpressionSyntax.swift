/// What the same text means in the regular expressions of different libraries.
enum RegularExpressionDialect: Sendable {
  /// Oniguruma's Ruby syntax, of `tokenizer.json`: `^` and `$` match at lines, `{1,3}+` repeats `{1,3}`.
  case oniguruma
  /// Rust's fancy-regex, of tiktoken: `^` and `$` match at the text's ends, `{1,3}+` does not backtrack.
  case rust
}

/// A regular expression as a tree.
indirect enum RegularExpressionNode {
  /// One scalar of a set.
  case set(ScalarSet)
  case sequence([RegularExpressionNode])
  /// The first alternative that leads to a match.
  case alternatives([RegularExpressionNode])
  case repetition(RegularExpressionNode, Repetition)
  case assertion(Assertion)
  /// What follows matches, or does not, without being consumed.
  case lookahead(RegularExpressionNode, isNegative: Bool)
  /// A group whose first match is final.
  case atomic(RegularExpressionNode)

  /// How often, and which count is tried first.
  struct Repetition {
    enum Preference { case most, fewest, mostWithoutReturn }

    let minimum: Int
    /// nil for any number.
    let maximum: Int?
    let preference: Preference
  }

  /// A place in the text.
  enum Assertion: Int32 {
    case textStart, textEnd
    /// The end of the text, or before a line break that ends it.
    case textEndOrLastBreak
    case lineStart, lineEnd
    case wordBoundary, noWordBoundary
  }
}
