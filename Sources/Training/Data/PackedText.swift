import AttentionLanguageModels

/// Concatenated documents and their starts.
///
/// The unit of training is a *pair*: a token and the token that follows it in the same document. A
/// document of n tokens has n − 1 pairs; no pair reaches from one document into another.
public struct PackedText: Sendable {
  /// The documents' tokens, without separators.
  let tokens: TokenArray
  /// The start of each document, counted in tokens, and then their number.
  public let starts: [Int]
  /// The size of the text that the tokens stand for.
  public let byteCount: Int

  /// The documents' bytes as tokens. Documents of fewer than two bytes have no pair and are left out.
  public init(_ documents: [Document]) { self.init(texts: documents.map { $0.bytes[...] }) }

  init(texts: [ArraySlice<UInt8>]) {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(texts.reduce(0) { $0 + $1.count })
    var starts = [0]
    for text in texts where text.count >= 2 {
      bytes += text
      starts.append(bytes.count)
    }
    self.init(tokens: .bytes(bytes), starts: starts, byteCount: bytes.count)
  }

  private init(tokens: TokenArray, starts: [Int], byteCount: Int) {
    self.tokens = tokens
    self.starts = starts
    self.byteCount = byteCount
  }

  /// The documents' tokens of a tokenizer. Documents of fewer than two tokens have no pair and are left out.
  ///
  /// - Throws: ``TrainingError/text(path:reason:)`` for a document that cannot be encoded.
  init(_ parts: [Corpus.Split.Part], tokenizer: ModelTokenizer) throws {
    guard !tokenizer.isBytes else {
      self.init(texts: parts.map(\.bytes))
      return
    }
    var tokens: [Int32] = []
    var starts = [0]
    var byteCount = 0
    for part in parts {
      let own: [Int32]
      do { own = try tokenizer.tokens(of: Array(part.bytes)) } catch {
        throw TrainingError.text(path: part.name, reason: "\(error)")
      }
      guard own.count >= 2 else { continue }
      tokens += own
      starts.append(tokens.count)
      byteCount += part.bytes.count
    }
    self.init(tokens: .numbers(tokens), starts: starts, byteCount: byteCount)
  }

  public var documentCount: Int { starts.count - 1 }
  public var tokenCount: Int { tokens.count }
  public var pairCount: Int { tokenCount - documentCount }
  /// The mean number of bytes of text that a token stands for; 1 if tokens are bytes.
  public var bytesPerToken: Double {
    tokenCount == byteCount ? 1 : Double(byteCount) / Double(tokenCount)
  }

  func pairCount(of document: Int) -> Int { starts[document + 1] - starts[document] - 1 }
}

/// The pairs of all documents, numbered consecutively in a given order of the documents.
struct PairSequence: Sendable {
  /// Adjacent pairs of one document.
  struct Piece: Equatable, Sendable {
    /// Position of the first pair's first token in the text.
    let start: Int
    let count: Int
  }

  private let documents: [Int]
  /// The number of each document's first pair, then the number of pairs.
  private let firstPairs: [Int]
  private let text: PackedText

  init(_ text: PackedText, order: [Int]) {
    self.text = text
    documents = order
    var sums = [0]
    for document in order { sums.append(sums[sums.count - 1] + text.pairCount(of: document)) }
    firstPairs = sums
  }

  var count: Int { firstPairs[firstPairs.count - 1] }

  /// The `length` pairs from `start` on, wrapping around after the last, split where documents end. A piece
  /// becomes one sequence of a batch.
  func pieces(from start: Int, length: Int) -> [Piece] {
    var pieces: [Piece] = []
    var pair = start % count
    var left = length
    var slot = self.slot(of: pair)
    while left > 0 {
      let end = firstPairs[slot + 1]
      let taken = min(left, end - pair)
      pieces.append(
        Piece(start: text.starts[documents[slot]] + pair - firstPairs[slot], count: taken))
      left -= taken
      slot = (slot + 1) % documents.count
      pair = firstPairs[slot]
    }
    return pieces
  }

  /// The position, in the order, of the document that holds `pair`.
  private func slot(of pair: Int) -> Int {
    var low = 0
    var high = documents.count
    while high - low > 1 {
      let middle = (low + high) / 2
      if firstPairs[middle] <= pair { low = middle } else { high = middle }
    }
    return low
  }
}
