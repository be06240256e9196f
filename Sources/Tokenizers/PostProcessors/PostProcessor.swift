/// Puts special tokens around a text's tokens.
struct PostProcessor: Sendable {
  /// Before the text.
  var prefix: [Int32] = []
  /// After the text.
  var suffix: [Int32] = []
}
