/// The batches that validation measures on, the same each time.
///
/// The held-out text is cut into windows of `length` pairs in the order of its documents. If that is more
/// than requested, evenly spaced windows are taken. A token is predicted from those before it in its
/// window and document, so the loss is that of a context of `length`.
public struct ValidationBatches: Sendable {
  public let text: PackedText
  public let windowsPerBatch: Int
  public let length: Int
  /// The first pair of each window.
  let starts: [Int]

  private let pairs: PairSequence

  /// - Parameters:
  ///   - text: the held-out text.
  ///   - windowsPerBatch: windows that the model processes at once, at least 1.
  ///   - length: pairs per window, at least 1.
  ///   - tokens: approximate number of pairs to measure on: whole windows, at least one.
  public init(_ text: PackedText, windowsPerBatch: Int, length: Int, tokens: Int) {
    self.text = text
    self.windowsPerBatch = max(1, windowsPerBatch)
    self.length = max(1, length)
    pairs = PairSequence(text, order: Array(0..<text.documentCount))
    let windows = pairs.count.pieces(of: self.length)
    let taken = min(windows, max(1, tokens / self.length))
    let step = self.length
    starts = (0..<taken).map { $0 * windows / taken * step }
  }

  public var count: Int { starts.count.pieces(of: windowsPerBatch) }

  /// The batch of the given number, below ``count``.
  func batch(_ number: Int) throws -> Batch {
    let first = number * windowsPerBatch
    let windows = starts[first..<min(starts.count, first + windowsPerBatch)]
    return try Batch(
      text,
      pieces: windows.flatMap { start in
        pairs.pieces(from: start, length: min(length, pairs.count - start))
      })
  }
}
