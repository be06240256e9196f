import AttentionTensors

/// How far training has read: all that is needed to draw the next batch again.
public struct DataPosition: Codable, Hashable, Sendable {
  /// The number of completed passes over the text.
  public var epoch = 0
  /// The number of windows read in this epoch.
  public var window = 0

  public init(epoch: Int = 0, window: Int = 0) {
    self.epoch = epoch
    self.window = window
  }
}

/// Draws training batches: each epoch reads every pair of the text once.
///
/// In each epoch the documents are shuffled, concatenated and cut into windows of `length` pairs, starting
/// at a random pair; the windows are read in random order. The last window wraps around to the beginning.
/// All randomness is a function of the seed and the epoch (Philox), so a ``position`` is enough to resume.
public struct TrainingBatches: Sendable {
  public let text: PackedText
  public let windowsPerBatch: Int
  public let length: Int
  public let seed: UInt64
  /// The position of the next batch.
  public private(set) var position: DataPosition

  private var epoch: Epoch

  /// - Parameters:
  ///   - text: the text to train on.
  ///   - windowsPerBatch: sequences per batch, before the ends of documents split them further.
  ///   - length: pairs per window.
  ///   - seed: determines the order of the text.
  ///   - position: where to start, an earlier value of ``position``.
  /// - Throws: ``TrainingError/invalidArgument(_:was:mustBe:)`` for a text without pairs, counts below one,
  ///   or a position outside of the text.
  public init(
    _ text: PackedText, windowsPerBatch: Int, length: Int, seed: UInt64,
    position: DataPosition = DataPosition()
  ) throws {
    guard text.pairCount > 0 else {
      throw TrainingError.invalidArgument("text", was: "empty", mustBe: "at least two tokens")
    }
    guard windowsPerBatch >= 1 else {
      throw TrainingError.invalidArgument(
        "windowsPerBatch", was: "\(windowsPerBatch)", mustBe: "at least 1")
    }
    guard length >= 1 else {
      throw TrainingError.invalidArgument("length", was: "\(length)", mustBe: "at least 1")
    }
    self.text = text
    self.windowsPerBatch = windowsPerBatch
    self.length = length
    self.seed = seed
    self.position = position
    epoch = Epoch(position.epoch, of: text, length: length, seed: seed)
    guard (0..<Int.max).contains(position.epoch),
      (0...epoch.windowOrder.count).contains(position.window)
    else {
      throw TrainingError.invalidArgument(
        "position", was: "epoch \(position.epoch), window \(position.window)",
        mustBe: "within \(epoch.windowOrder.count) windows")
    }
  }

  /// The next batch; advances ``position``.
  public mutating func next() throws -> Batch {
    var pieces: [PairSequence.Piece] = []
    for _ in 0..<windowsPerBatch {
      if position.window == epoch.windowOrder.count {
        position = DataPosition(epoch: position.epoch + 1)
        epoch = Epoch(position.epoch, of: text, length: length, seed: seed)
      }
      let start = epoch.rotation + epoch.windowOrder[position.window] * length
      pieces += epoch.pairs.pieces(from: start, length: length)
      position.window += 1
    }
    return try Batch(text, pieces: pieces)
  }

  /// The random choices of one epoch.
  private struct Epoch: Sendable {
    let pairs: PairSequence
    let rotation: Int
    let windowOrder: [Int]

    init(_ number: Int, of text: PackedText, length: Int, seed: UInt64) {
      var random = Philox(seed: seed, label: "data.epoch.\(number)")
      pairs = PairSequence(text, order: (0..<text.documentCount).shuffled(using: &random))
      rotation = random.next(below: pairs.count)
      let windows = pairs.count.pieces(of: length)
      windowOrder = (0..<windows).shuffled(using: &random)
    }
  }
}
