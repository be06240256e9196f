/// A token that is found in the text itself, before the model encodes the rest.
public struct AddedToken: Hashable, Sendable {
  /// The number.
  public let token: Int32
  /// The text.
  public let text: String
  /// Whether it is a mark and no text, as `<|im_end|>`.
  public let isSpecial: Bool
  /// Whether white space before it belongs to it.
  var stripsLeft = false
  /// Whether white space after it belongs to it.
  var stripsRight = false
  /// Whether it is only found where no letter stands beside it.
  var isSingleWord = false
  var search = Search.text

  /// Where it is looked for.
  enum Search: Sendable {
    case text
    /// In the normalised text, in which it looks as its own text does when that is normalised.
    case normalizedText
    /// In the normalised text, in which it looks as written.
    case normalizedTextAsWritten
    /// Nowhere: it is only put around text.
    case nowhere
  }
}

/// Finds added tokens in a text: from left to right, of several that begin together the longest.
struct AddedTokenFinder: Sendable {
  private let tokens: [AddedToken]
  private let trie: ByteTrie
  private static let words = ScalarTable(.words)
  private static let whitespace = ScalarTable(.whitespace)

  /// - Parameter texts: what each token looks like in the text.
  init(_ tokens: [AddedToken], texts: [[UInt8]]) {
    self.tokens = tokens
    trie = ByteTrie(texts)
  }

  /// Calls `body` with each part of `text` in order: a token, or text between tokens, which is not empty.
  ///
  /// - Parameter findsSpecial: whether special tokens are looked for.
  func forEachPart(
    of text: [UInt8], findsSpecial: Bool,
    _ body: (Range<Int>, AddedToken?) throws(TokenizerError) -> Void
  ) throws(TokenizerError) {
    var done = 0
    var start = 0
    while let (place, index, end) = trie.firstMatch(in: text, from: start) {
      start = end
      let token = tokens[index]
      if token.isSpecial, !findsSpecial { continue }
      var range = place..<start
      if token.isSingleWord, isBeside(Self.words, text, range) { continue }
      if token.stripsLeft { range = max(done, space(in: text, before: place))..<range.upperBound }
      if token.stripsRight { range = range.lowerBound..<space(in: text, after: range.upperBound) }
      // White space that the last token took begins no other.
      guard range.lowerBound >= done else { continue }
      if done < range.lowerBound { try body(done..<range.lowerBound, nil) }
      try body(range, token)
      done = range.upperBound
    }
    if done < text.count { try body(done..<text.count, nil) }
  }

  /// Whether a member of `table` stands before or after `range`.
  private func isBeside(_ table: ScalarTable, _ text: [UInt8], _ range: Range<Int>) -> Bool {
    text.withUnsafeBufferPointer { text in
      func isMember(_ offset: Int) -> Bool {
        table.contains(text.scalar(at: offset, length: text.lengthOfScalar(at: offset)))
      }
      return range.lowerBound > 0 && isMember(text.startOfScalar(before: range.lowerBound))
        || range.upperBound < text.count && isMember(range.upperBound)
    }
  }

  /// Where the white space begins that ends before `offset`.
  private func space(in text: [UInt8], before offset: Int) -> Int {
    text.withUnsafeBufferPointer { text in
      var start = offset
      while start > 0 {
        let before = text.startOfScalar(before: start)
        guard Self.whitespace.contains(text.scalar(at: before, length: start - before)) else {
          break
        }
        start = before
      }
      return start
    }
  }

  /// Where the white space ends that begins at `offset`.
  private func space(in text: [UInt8], after offset: Int) -> Int {
    text.withUnsafeBufferPointer { text in
      var end = offset
      while end < text.count {
        let length = text.lengthOfScalar(at: end)
        guard Self.whitespace.contains(text.scalar(at: end, length: length)) else { break }
        end += length
      }
      return end
    }
  }
}
