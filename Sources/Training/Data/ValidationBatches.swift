/// The batches that validation measures on, the same each time.
///
/// The held-out text is cut into windows of `length` pairs in the order of its documents. If that
/// is more than asked for, windows are taken at even distances. A byte is predicted from what
/// stands before it in its window and document, so the figure is that of a context of `length`.
public struct ValidationBatches: Sendable {
  public let text: PackedText
  public let windowsPerBatch: Int
  public let length: Int
  /// The first pair of each window that is read.
  let starts: [Int]

  private let pairs: PairSequence

  /// - Parameters:
  ///   - text: what is measured on.
  ///   - windowsPerBatch: windows that go through the model at once, at least 1.
  ///   - length: pairs in a window, at least 1.
  ///   - tokens: about how many pairs to measure on: whole windows, at least one.
  public init(_ text: PackedText, windowsPerBatch: Int, length: Int, tokens: Int) {
    self.text = text
    self.windowsPerBatch = max(1, windowsPerBatch)
    self.length = max(1, length)
    pairs = PairSequence(text, order: Array(0..<text.documentCount))
    let windows = (pairs.count + self.length - 1) / self.length
    let taken = min(windows, max(1, tokens / self.length))
    let step = self.length
    starts = (0..<taken).map { $0 * windows / taken * step }
  }

  public var count: Int { (starts.count + windowsPerBatch - 1) / windowsPerBatch }

  /// The batch of the given number below ``count``.
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
