import AttentionOperators
import AttentionTensors

/// What all layers of a model must know about the tokens of one call.
public struct TokenContext: Sendable {
  public let batch: Int
  public let length: Int
  /// How many tokens of the same sequences came in earlier calls.
  public let offset: Int
  /// Where packed sequences begin, and where the last ends: int32 [sequences + 1]; nil if not packed.
  public let cumulativeLengths: Tensor?
  /// Bool [batch, length], false for padding; nil if there is none.
  public let paddingMask: Tensor?
  /// The position of every token in its sequence, counted from 0: `int32 [batch · length]`.
  public let positions: Tensor
  /// What layers of the call leave for later ones.
  public let shared = SharedTensors()
  /// One more than the largest position.
  let positionLimit: Int

  /// - Parameters:
  ///   - batch: how many rows of tokens there are.
  ///   - length: how many tokens a row has.
  ///   - offset: how many tokens of the same sequences came before; 0 for packed ones.
  ///   - cumulativeLengths: `int32 [sequences + 1]`, from 0 to `length` and never decreasing, for a
  ///     batch of 1.
  ///   - paddingMask: `bool [batch, length]`, false for tokens that are padding.
  ///   - device: where the tokens are; mask and positions are copied there once for all layers.
  /// - Throws: ``LayerError/invalidArgument(_:was:mustBe:)``.
  public init(
    batch: Int, length: Int, offset: Int = 0, cumulativeLengths: Tensor? = nil,
    paddingMask: Tensor? = nil, device: Device = .cpu
  ) throws {
    try LayerError.require("batch", batch, atLeast: 0)
    try LayerError.require("length", length, atLeast: 0)
    guard offset >= 0, offset <= Int(Int32.max) - length else {
      throw LayerError.invalidArgument(
        "offset", was: "\(offset)", mustBe: "at least 0 and a number of 32 bits with the length")
    }
    if let mask = paddingMask, mask.dtype != .bool || mask.shape != [batch, length] {
      throw LayerError.invalidArgument(
        "paddingMask", was: "\(mask.summary)", mustBe: "bool [\(batch), \(length)]")
    }
    var positions = [Int32](repeating: 0, count: batch * length)
    if let cumulativeLengths {
      guard offset == 0, paddingMask == nil else {
        throw LayerError.invalidArgument(
          "cumulativeLengths", was: "given with an offset or a padding mask",
          mustBe: "absent where a cache or padding is used")
      }
      let ends = try Self.validated(cumulativeLengths, batch: batch, length: length)
      for (start, end) in zip(ends, ends.dropFirst()) {
        for token in start..<end { positions[token] = Int32(token - start) }
      }
      positionLimit = zip(ends, ends.dropFirst()).map { $1 - $0 }.max() ?? 0
    } else {
      for token in positions.indices { positions[token] = Int32(offset + token % length) }
      positionLimit = offset + length
    }
    self.batch = batch
    self.length = length
    self.offset = offset
    self.cumulativeLengths = cumulativeLengths
    self.paddingMask = try paddingMask?.moved(to: device)
    self.positions = try Tensor(positions).moved(to: device)
  }

  /// One token of each of several sequences, which have read these numbers of tokens.
  init(offsets: [Int], device: Device) throws {
    for offset in offsets where offset < 0 || offset >= Int(Int32.max) {
      throw LayerError.invalidArgument(
        "offsets", was: "with \(offset)", mustBe: "numbers of 32 bits, at least 0")
    }
    batch = offsets.count
    length = 1
    offset = offsets.max() ?? 0
    cumulativeLengths = nil
    paddingMask = nil
    positions = try Tensor(offsets.map(Int32.init)).moved(to: device)
    positionLimit = offset + 1
  }

  private static func validated(_ lengths: Tensor, batch: Int, length: Int) throws -> [Int] {
    do {
      return try Check.bounds(lengths, of: "tokens", batch: batch, length: length)
    } catch AttentionError.invalidArgument(let name, let was, let mustBe) {
      throw LayerError.invalidArgument(name, was: was, mustBe: mustBe)
    }
  }
}
