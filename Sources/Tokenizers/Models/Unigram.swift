/// The most likely tokens of a piece, each drawn on its own (Kudo 2018), by the algorithm of Viterbi.
struct Unigram: TokenModel {
  /// How candidates are added and compared, which decides between nearly equal ones.
  enum Arithmetic: Sendable {
    /// In double precision: Hugging Face's `tokenizers`.
    case double
    /// In single precision: SentencePiece.
    case single
  }

  struct Options: Sendable {
    /// The token for characters that have none; neighbouring ones are one token.
    var unknown: Int32?
    /// Whether unknown text becomes the tokens `<0x00>` … of its bytes, if there are such.
    var fallsBackToBytes = false
    var arithmetic = Arithmetic.double
    /// Scores of tokens that are always chosen, in place of those of the vocabulary.
    var userScores: [Int32: Double] = [:]
    /// Tokens that no text has.
    var excluded: Set<Int32> = []
  }

  /// How much less likely an unknown character is than the least likely token.
  private static let unknownPenalty = 10.0

  private let vocabulary: Vocabulary
  private let scores: [Double]
  private let options: Options
  private let trie: ByteTrie
  private let byteTokens: [Int32]
  private let unknownScore: Double

  /// - Parameters:
  ///   - scores: the logarithm of each token's probability, by number.
  ///   - lowest: the least score of an ordinary token.
  init(_ vocabulary: Vocabulary, scores: [Double], lowest: Double, options: Options) {
    self.vocabulary = vocabulary
    self.options = options
    self.scores = scores.enumerated().map { options.userScores[Int32($0.offset)] ?? $0.element }
    unknownScore = options.arithmetic.rounded(lowest - Self.unknownPenalty)
    byteTokens = (0...255).map { (byte: Int) in
      options.fallsBackToBytes ? vocabulary.number(of: ByteToken.name(UInt8(byte))) ?? -1 : -1
    }
    var trie = ByteTrie()
    for token in 0..<Int32(vocabulary.count) where !options.excluded.contains(token) {
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
    let hash = ByteHash.hash(piece)
    if scratch.cache.append(piece, hash, to: &tokens) { return }
    let first = tokens.count
    findPaths(piece, &scratch.paths)
    let paths = scratch.paths
    var parts: [(range: Range<Int>, token: Int32)] = []
    var end = piece.count
    while end > 0 {
      let path = paths[end]
      let start = Int(path.start)
      if path.token < 0, let last = parts.last, last.token < 0 {
        parts[parts.count - 1].range = start..<last.range.upperBound
      } else {
        parts.append((start..<end, path.token))
      }
      end = start
    }
    for part in parts.reversed() {
      if part.token >= 0 {
        tokens.append(part.token)
      } else {
        try appendUnknown(UnsafeBufferPointer(rebasing: piece[part.range]), to: &tokens)
      }
    }
    scratch.cache.insert(piece, hash, tokens[first...])
  }

  /// Sets the best path to the end of each character.
  private func findPaths(_ piece: UnsafeBufferPointer<UInt8>, _ paths: inout [UnigramPath]) {
    paths.removeAll(keepingCapacity: true)
    paths.append(contentsOf: repeatElement(UnigramPath(), count: piece.count + 1))
    scores.withUnsafeBufferPointer { scores in
      paths.withUnsafeMutableBufferPointer { paths in
        var start = 0
        while start < piece.count {
          let score = paths[start].score
          let next = start + piece.lengthOfScalar(at: start)
          var hasCharacter = false
          func offer(_ candidate: Double, _ token: Int32, _ end: Int) {
            let score = options.arithmetic.rounded(candidate)
            guard paths[end].start < 0 || score > paths[end].score else { return }
            paths[end] = UnigramPath(score: score, start: Int32(start), token: token)
          }
          trie.forEachMatch(in: piece, at: start) { token, end in
            if end == next { hasCharacter = true }
            offer(score + scores[token], Int32(token), end)
          }
          if !hasCharacter { offer(score + unknownScore, -1, next) }
          start = next
        }
      }
    }
  }

  private func appendUnknown(
    _ text: UnsafeBufferPointer<UInt8>, to tokens: inout [Int32]
  ) throws(TokenizerError) {
    // Unknown characters can make up a token of which no single part is one.
    let whole = options.arithmetic == .double ? vocabulary.number(of: text) : -1
    if whole >= 0 { return tokens.append(whole) }
    if options.fallsBackToBytes, text.allSatisfy({ byteTokens[Int($0)] >= 0 }) {
      tokens += text.map { byteTokens[Int($0)] }
    } else if let unknown = options.unknown {
      tokens.append(unknown)
    } else {
      throw TokenizerError.invalidArgument(
        "text", was: "with \"\(String(decoding: text, as: UTF8.self))\"",
        mustBe: "of characters that the vocabulary has, since it has no unknown token")
    }
  }
}

extension Unigram.Arithmetic {
  fileprivate func rounded(_ score: Double) -> Double {
    self == .single ? Double(Float(score)) : score
  }
}

/// The best way to a place in a piece.
struct UnigramPath {
  var score = 0.0
  /// Where its last token begins; −1 if no way is known.
  var start: Int32 = -1
  /// That token; −1 for an unknown character.
  var token: Int32 = -1
}
