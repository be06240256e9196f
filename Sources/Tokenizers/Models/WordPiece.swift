/// The longest token that a word begins with, then that of the rest, and so on (Wu et al. 2016).
struct WordPiece: TokenModel {
  private let vocabulary: Vocabulary
  private let unknown: Int32
  private let prefix: [UInt8]
  private let mostCharacters: Int
  /// The length of the longest token, in bytes.
  private let mostBytes: Int

  /// - Parameters:
  ///   - unknown: the token of words that cannot be cut into tokens.
  ///   - prefix: begins the tokens of what is not the beginning of a word.
  ///   - mostCharacters: longer words are unknown.
  init(_ vocabulary: Vocabulary, unknown: Int32, prefix: [UInt8], mostCharacters: Int) {
    self.vocabulary = vocabulary
    self.unknown = unknown
    self.prefix = prefix
    self.mostCharacters = mostCharacters
    mostBytes = vocabulary.mostBytes
  }

  var vocabularySize: Int { vocabulary.count }

  func token(_ text: [UInt8]) -> Int32? { vocabulary.number(of: text) }

  func text(of token: Int32) -> ArraySlice<UInt8>? { vocabulary.text(of: token) }

  func append(
    _ piece: UnsafeBufferPointer<UInt8>, to tokens: inout [Int32], _ scratch: inout ModelScratch
  ) throws(TokenizerError) {
    let hash = ByteHash.hash(piece)
    if scratch.cache.append(piece, hash, to: &tokens) { return }
    let first = tokens.count
    appendWord(piece, to: &tokens)
    scratch.cache.insert(piece, hash, tokens[first...])
  }

  private func appendWord(_ piece: UnsafeBufferPointer<UInt8>, to tokens: inout [Int32]) {
    let first = tokens.count
    let characters = piece.count(where: { $0 & 0xC0 != 0x80 })
    guard characters <= mostCharacters else { return tokens.append(unknown) }
    var start = 0
    while start < piece.count {
      var text = start == 0 ? [] : prefix
      // What is longer than any token is no token, wherever it ends.
      var end = min(piece.count, start + mostBytes)
      while end < piece.count, piece[end] & 0xC0 == 0x80 { end += 1 }
      text += piece[start..<end]
      var token: Int32?
      while end > start {
        token = vocabulary.number(of: text)
        if token != nil { break }
        let before = piece.startOfScalar(before: end)
        text.removeLast(end - before)
        end = before
      }
      guard let token else {
        tokens.removeLast(tokens.count - first)
        return tokens.append(unknown)
      }
      tokens.append(token)
      start = end
    }
  }
}

/// A token for each piece.
struct WordLevel: TokenModel {
  let vocabulary: Vocabulary
  /// The token of other pieces; nil if there must be none.
  let unknown: Int32?

  var vocabularySize: Int { vocabulary.count }

  func token(_ text: [UInt8]) -> Int32? { vocabulary.number(of: text) }

  func text(of token: Int32) -> ArraySlice<UInt8>? { vocabulary.text(of: token) }

  func append(
    _ piece: UnsafeBufferPointer<UInt8>, to tokens: inout [Int32], _ scratch: inout ModelScratch
  ) throws(TokenizerError) {
    let token = vocabulary.number(of: piece)
    if token >= 0 {
      tokens.append(token)
    } else if let unknown {
      tokens.append(unknown)
    } else {
      throw TokenizerError.invalidArgument(
        "text", was: "with \"\(String(decoding: piece, as: UTF8.self))\"",
        mustBe: "of words that the vocabulary has, since it has no unknown token")
    }
  }
}
