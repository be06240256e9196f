/// Encodes pieces of text.
protocol TokenModel: Sendable {
  /// One more than the largest token.
  var vocabularySize: Int { get }

  /// Appends the tokens of `piece`, which is not empty, to `tokens`.
  func append(
    _ piece: UnsafeBufferPointer<UInt8>, to tokens: inout [Int32], _ scratch: inout ModelScratch
  ) throws(TokenizerError)

  /// The number of a token that is `text`.
  func token(_ text: [UInt8]) -> Int32?

  /// The text of a token.
  func text(of token: Int32) -> ArraySlice<UInt8>?
}

/// Memory that encoding reuses, for one thread at a time.
struct ModelScratch {
  /// Symbols that are merged, and the rank of each with its successor.
  var symbols: [Int32] = []
  var ranks: [UInt32] = []
  /// Neighbours of symbols in long pieces.
  var previous: [Int32] = []
  var next: [Int32] = []
  /// Paths of ``Unigram``.
  var paths: [UnigramPath] = []
  var heap = Heap<UInt64>()
  /// Tokens of the pieces met before.
  let cache = PieceCache()
}
