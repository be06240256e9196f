/// Finds the merges of a byte pair encoding, one after the other.
struct MergeLearner {
  /// Two tokens that become one.
  struct Pair: Hashable {
    let left: Int32
    let right: Int32
  }

  /// A pair with the frequency that it had when it was noted; the most frequent first, then the lowest numbers.
  private struct Candidate: Comparable {
    let pair: Pair
    let frequency: Int

    static func < (a: Candidate, b: Candidate) -> Bool {
      if a.frequency != b.frequency { return a.frequency > b.frequency }
      return a.pair.left != b.pair.left
        ? a.pair.left < b.pair.left : a.pair.right < b.pair.right
    }
  }

  /// The tokens of each word, and how often it occurs.
  private var words: [[Int32]]
  private let counts: [Int]
  private var frequencies: [Pair: Int] = [:]
  /// The words that may have a pair.
  private var places: [Pair: Set<Int32>] = [:]
  private var candidates = Heap<Candidate>()
  private var nextToken: Int32
  private let minimumFrequency: Int

  init(
    _ counter: PieceCounter, tokenOfByte: [Int32], firstToken: Int32, minimumFrequency: Int
  ) {
    words = (0..<counter.pieces.count).map { counter.pieces[$0].map { tokenOfByte[Int($0)] } }
    counts = counter.counts
    nextToken = firstToken
    self.minimumFrequency = minimumFrequency
    for (word, tokens) in words.enumerated() {
      for (left, right) in zip(tokens, tokens.dropFirst()) {
        let pair = Pair(left: left, right: right)
        frequencies[pair, default: 0] += counts[word]
        places[pair, default: []].insert(Int32(word))
      }
    }
    for (pair, frequency) in frequencies {
      candidates.insert(Candidate(pair: pair, frequency: frequency))
    }
  }

  /// The next merge, which makes the next token; nil if no pair is frequent enough.
  mutating func next() -> Pair? {
    while let best = candidates.popFirst() {
      let frequency = frequencies[best.pair] ?? 0
      guard frequency == best.frequency else {
        // Some of its occurrences have been merged with other tokens since.
        if frequency > 0 { candidates.insert(Candidate(pair: best.pair, frequency: frequency)) }
        continue
      }
      guard frequency >= minimumFrequency else { return nil }
      merge(best.pair)
      return best.pair
    }
    return nil
  }

  private mutating func merge(_ pair: Pair) {
    let token = nextToken
    nextToken += 1
    var grown: Set<Pair> = []
    for word in places[pair] ?? [] {
      let old = words[Int(word)]
      let new = Self.merged(old, pair, token)
      guard new.count < old.count else { continue }
      words[Int(word)] = new
      let count = counts[Int(word)]
      for (left, right) in zip(old, old.dropFirst()) {
        frequencies[Pair(left: left, right: right), default: 0] -= count
      }
      for (left, right) in zip(new, new.dropFirst()) {
        let neighbours = Pair(left: left, right: right)
        frequencies[neighbours, default: 0] += count
        guard left == token || right == token else { continue }
        places[neighbours, default: []].insert(word)
        grown.insert(neighbours)
      }
    }
    frequencies[pair] = nil
    places[pair] = nil
    for pair in grown {
      candidates.insert(Candidate(pair: pair, frequency: frequencies[pair] ?? 0))
    }
  }

  /// `tokens` with each occurrence of `pair`, from left to right, replaced by `token`.
  private static func merged(_ tokens: [Int32], _ pair: Pair, _ token: Int32) -> [Int32] {
    var result: [Int32] = []
    result.reserveCapacity(tokens.count)
    var place = 0
    while place < tokens.count {
      if tokens[place] == pair.left, place + 1 < tokens.count, tokens[place + 1] == pair.right {
        result.append(token)
        place += 2
      } else {
        result.append(tokens[place])
        place += 1
      }
    }
    return result
  }
}
