import AttentionLanguageModels

/// States of the model after prompts and their beginnings, for later requests that begin the same way.
///
/// A recurrent state cannot be cut back to fewer tokens, so states are kept as snapshots: after every whole piece of
/// a prompt, and after the last token of the prompt. A prompt continues from a snapshot only where reading it from
/// the start would have ended a piece too, so its logits have the same bits with and without the cache: at the
/// end of whole pieces, or at the prompt's own end.
///
/// The snapshots used least recently are dropped first.
struct PrefixCache {
  struct Snapshot {
    var tokens: [Int32]
    var cache: LanguageModel.Cache
    /// The logits after the last token.
    var logits: [Float]
    fileprivate var lastUse: Int = 0

    init(tokens: [Int32], cache: LanguageModel.Cache, logits: [Float]) {
      self.tokens = tokens
      self.cache = cache
      self.logits = logits
    }

    /// The memory it takes.
    var byteCount: Int {
      cache.byteCount + tokens.count * MemoryLayout<Int32>.stride
        + logits.count * MemoryLayout<Float>.stride
    }
  }

  private let limit: Int
  private let pieceLength: Int
  private var snapshots: [[Int32]: Snapshot] = [:]
  /// How many snapshots have each number of tokens, so that others need no look.
  private var lengths: [Int: Int] = [:]
  private var uses = 0
  /// The memory of all snapshots.
  private(set) var byteCount = 0
  var count: Int { snapshots.count }

  /// - Parameters:
  ///   - limit: the most bytes.
  ///   - pieceLength: of the pieces in which prompts are read.
  init(limit: Int, pieceLength: Int) {
    self.limit = limit
    self.pieceLength = pieceLength
  }

  /// The longest snapshot of a beginning of `prompt` that has more than `read` tokens; nil if there is none.
  mutating func longest(of prompt: [Int32], after read: Int) -> Snapshot? {
    var length = prompt.count
    while length > read {
      if lengths[length] != nil, let index = snapshots.index(forKey: Array(prompt[..<length])) {
        uses += 1
        snapshots.values[index].lastUse = uses
        return snapshots.values[index]
      }
      length = (length - 1) / pieceLength * pieceLength
    }
    return nil
  }

  /// Keeps a snapshot, if it fits.
  mutating func insert(_ snapshot: Snapshot) {
    guard snapshot.byteCount <= limit, snapshots[snapshot.tokens] == nil else { return }
    shrink(to: limit - snapshot.byteCount)
    uses += 1
    var snapshot = snapshot
    snapshot.lastUse = uses
    byteCount += snapshot.byteCount
    lengths[snapshot.tokens.count, default: 0] += 1
    snapshots[snapshot.tokens] = snapshot
  }

  /// Drops snapshots until the rest takes at most `bytes`.
  mutating func shrink(to bytes: Int) {
    while byteCount > bytes, let oldest = snapshots.min(by: { $0.value.lastUse < $1.value.lastUse })
    {
      byteCount -= oldest.value.byteCount
      snapshots[oldest.key] = nil
      let left = lengths[oldest.key.count, default: 1] - 1
      lengths[oldest.key.count] = left > 0 ? left : nil
    }
  }
}
