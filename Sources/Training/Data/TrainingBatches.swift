import AttentionTensors

/// How far training has read: all that has to be saved to draw the next batch again.
public struct DataPosition: Codable, Hashable, Sendable {
  /// How often the text has been read to its end.
  public var epoch = 0
  /// How many windows of the epoch have been read.
  public var window = 0

  public init(epoch: Int = 0, window: Int = 0) {
    self.epoch = epoch
    self.window = window
  }
}

/// Draws training batches: each epoch reads every pair of the text once.
///
/// In an epoch the documents are shuffled and laid one behind the other, cut into windows of
/// `length` pairs from a random place on, and the windows are read in random order. The last window
/// is filled from the beginning. Everything random is a function of the seed and the epoch (Philox),
/// so a ``position`` is enough to continue.
public struct TrainingBatches: Sendable {
  public let text: PackedText
  public let windowsPerBatch: Int
  public let length: Int
  public let seed: UInt64
  /// The place of the next batch.
  public private(set) var position: DataPosition

  private var epoch: Epoch

  /// - Parameters:
  ///   - text: what is trained on.
  ///   - windowsPerBatch: sequences a batch, before documents' ends cut them further.
  ///   - length: pairs in a window.
  ///   - seed: decides the order of the text.
  ///   - position: where to begin: the place that a former ``position`` had.
  /// - Throws: ``TrainingError/invalidArgument(_:was:mustBe:)`` for a text without pairs, counts
  ///   below one, or a position that the text does not have.
  public init(
    _ text: PackedText, windowsPerBatch: Int, length: Int, seed: UInt64,
    position: DataPosition = DataPosition()
  ) throws {
    guard text.pairCount > 0 else {
      throw TrainingError.invalidArgument("text", was: "empty", mustBe: "at least two bytes")
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

  /// The next batch; ``position`` moves behind it.
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

  /// What is random about one reading of the text.
  private struct Epoch: Sendable {
    let pairs: PairSequence
    let rotation: Int
    let windowOrder: [Int]

    init(_ number: Int, of text: PackedText, length: Int, seed: UInt64) {
      var random = Philox(seed: seed, label: "data.epoch.\(number)")
      pairs = PairSequence(text, order: (0..<text.documentCount).shuffled(using: &random))
      rotation = random.next(below: pairs.count)
      let windows = (pairs.count + length - 1) / length
      windowOrder = (0..<windows).shuffled(using: &random)
    }
  }
}
