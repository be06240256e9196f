/// Byte pair encoding (Sennrich et al. 2016): the characters of a piece, merged in the order that was learned.
struct BytePairEncoding: TokenModel {
  /// What the model does besides merging, as in `tokenizer.json`.
  struct Options: Sendable {
    /// The token for characters that have none; nil leaves them out.
    var unknown: Int32?
    /// Whether neighbouring unknown characters are one token.
    var fusesUnknown = false
    /// Whether an unknown character becomes the tokens `<0x00>` … of its bytes, if there are such.
    var fallsBackToBytes = false
    /// Whether a piece that is a token is that token, however it would merge.
    var ignoresMerges = false
    /// Begins every character of a piece but the first.
    var continuingPrefix: [UInt8] = []
    /// Ends the last character of a piece.
    var endSuffix: [UInt8] = []
  }

  private let vocabulary: Vocabulary
  private let merger: BytePairMerger
  private let options: Options
  /// The tokens of single characters below U+0800; −1 for none.
  private let characters: [Int32]
  /// The tokens `<0x00>` … `<0xFF>`, if bytes are fallen back to; −1 for none.
  private let byteTokens: [Int32]
  /// Whether a character stands for itself alone, so that its token is found by number.
  private let isPlain: Bool
  /// The character that begins words, if no token has it after another one: pieces are cut before it.
  private let wordStart: WordStart?

  /// - Parameters:
  ///   - merges: what each pair of tokens becomes.
  ///   - wordMark: a character, such as `▁`, at which long pieces are cut if that changes nothing.
  init(
    _ vocabulary: Vocabulary, merges: MergeTable, options: Options, wordMark: [UInt8]? = nil
  ) {
    self.vocabulary = vocabulary
    self.options = options
    merger = BytePairMerger(table: merges)
    isPlain = options.continuingPrefix.isEmpty && options.endSuffix.isEmpty
    characters = (0..<UInt32(0x800)).map { value in
      Unicode.Scalar(value).flatMap { vocabulary.number(of: String(Character($0))) } ?? -1
    }
    byteTokens = (0...255).map { (byte: Int) in
      options.fallsBackToBytes ? vocabulary.number(of: ByteToken.name(UInt8(byte))) ?? -1 : -1
    }
    wordStart = isPlain ? wordMark.flatMap { WordStart($0, vocabulary) } : nil
  }

  var vocabularySize: Int { vocabulary.count }

  func token(_ text: [UInt8]) -> Int32? { vocabulary.number(of: text) }

  func text(of token: Int32) -> ArraySlice<UInt8>? { vocabulary.text(of: token) }

  func append(
    _ piece: UnsafeBufferPointer<UInt8>, to tokens: inout [Int32], _ scratch: inout ModelScratch
  ) throws(TokenizerError) {
    guard let wordStart, !options.ignoresMerges else {
      return try appendWord(piece, to: &tokens, &scratch)
    }
    var start = 0
    while start < piece.count {
      let end = wordStart.end(of: piece, from: start)
      try appendWord(UnsafeBufferPointer(rebasing: piece[start..<end]), to: &tokens, &scratch)
      start = end
    }
  }

  private func appendWord(
    _ piece: UnsafeBufferPointer<UInt8>, to tokens: inout [Int32], _ scratch: inout ModelScratch
  ) throws(TokenizerError) {
    let hash = ByteHash.hash(piece)
    if scratch.cache.append(piece, hash, to: &tokens) { return }
    let first = tokens.count
    let whole = options.ignoresMerges ? vocabulary.number(of: piece) : -1
    if whole >= 0 {
      tokens.append(whole)
    } else {
      scratch.symbols.removeAll(keepingCapacity: true)
      appendCharacters(of: piece, to: &scratch.symbols)
      merger.merge(&scratch)
      tokens += scratch.symbols
    }
    scratch.cache.insert(piece, hash, tokens[first...])
  }

  /// Appends the tokens of a piece's characters before any merge.
  private func appendCharacters(
    of piece: UnsafeBufferPointer<UInt8>, to symbols: inout [Int32]
  ) {
    var hasUnknown = false
    var start = 0
    while start < piece.count {
      let length = piece.lengthOfScalar(at: start)
      let end = start + length
      let token = token(ofCharacter: piece, start, end)
      if token >= 0 {
        if hasUnknown, let unknown = options.unknown { symbols.append(unknown) }
        hasUnknown = false
        symbols.append(token)
      } else if !appendBytes(of: piece, start, end, to: &symbols) {
        if hasUnknown, !options.fusesUnknown, let unknown = options.unknown {
          symbols.append(unknown)
        }
        hasUnknown = true
      }
      start = end
    }
    if hasUnknown, let unknown = options.unknown { symbols.append(unknown) }
  }

  @inline(__always)
  private func token(
    ofCharacter piece: UnsafeBufferPointer<UInt8>, _ start: Int, _ end: Int
  ) -> Int32 {
    if isPlain {
      if end - start <= 2 {
        return characters[Int(piece.scalar(at: start, length: end - start))]
      }
      return vocabulary.number(of: UnsafeBufferPointer(rebasing: piece[start..<end]))
    }
    var text = start == 0 ? [] : options.continuingPrefix
    text += piece[start..<end]
    if end == piece.count { text += options.endSuffix }
    return vocabulary.number(of: text) ?? -1
  }

  /// Appends a character as tokens of its bytes; false, and nothing, if one has no token.
  private func appendBytes(
    of piece: UnsafeBufferPointer<UInt8>, _ start: Int, _ end: Int, to symbols: inout [Int32]
  ) -> Bool {
    guard options.fallsBackToBytes else { return false }
    var text = start == 0 ? [] : options.continuingPrefix
    text += piece[start..<end]
    if end == piece.count { text += options.endSuffix }
    let tokens = text.map { byteTokens[Int($0)] }
    guard !tokens.contains(-1) else { return false }
    symbols += tokens
    return true
  }
}

/// Where words begin in a piece that was not cut into words: before the mark, unless another mark precedes it.
///
/// No token has the mark after another character, so that no merge reaches over the cut.
private struct WordStart: Sendable {
  private let mark: [UInt8]

  init?(_ mark: [UInt8], _ vocabulary: Vocabulary) {
    self.mark = mark
    // Unknown characters must not be fused over the cut either.
    guard vocabulary.number(of: mark) != nil else { return nil }
    for number in 0..<vocabulary.count {
      guard let text = vocabulary.text(of: Int32(number)) else { continue }
      var rest = text
      while rest.starts(with: mark) { rest = rest.dropFirst(mark.count) }
      if Splitter.contains(Array(rest), mark) { return nil }
    }
  }

  /// The end of the word that begins at `start`.
  func end(of piece: UnsafeBufferPointer<UInt8>, from start: Int) -> Int {
    var end = start
    while isMark(piece, end) { end += mark.count }
    while end < piece.count {
      if piece[end] == mark[0], isMark(piece, end) { break }
      end += 1
    }
    return end
  }

  private func isMark(_ piece: UnsafeBufferPointer<UInt8>, _ offset: Int) -> Bool {
    offset + mark.count <= piece.count
      && piece[offset..<offset + mark.count].elementsEqual(mark)
  }
}
