/// The longest token that the text begins with, then that of the rest, and so on: RWKV's "World" tokenizer.
struct LongestMatch: TokenModel {
  private let vocabulary: Vocabulary
  private let trie: ByteTrie

  /// - Parameter vocabulary: has a token for every byte.
  init(_ vocabulary: Vocabulary) {
    self.vocabulary = vocabulary
    var trie = ByteTrie()
    for token in 0..<Int32(vocabulary.count) {
      if let text = vocabulary.text(of: token) { trie.insert(text, index: token) }
    }
    self.trie = trie
  }

  var vocabularySize: Int { vocabulary.count }

  func token(_ text: [UInt8]) -> Int32? { vocabulary.number(of: text) }

  func text(of token: Int32) -> ArraySlice<UInt8>? { vocabulary.text(of: token) }

  func append(
    _ piece: UnsafeBufferPointer<UInt8>, to tokens: inout [Int32], _ scratch: inout ModelScratch
  ) throws(TokenizerError) {
    var start = 0
    while start < piece.count, let (token, end) = trie.longestMatch(in: piece, at: start) {
      tokens.append(Int32(token))
      start = end
    }
  }
}
