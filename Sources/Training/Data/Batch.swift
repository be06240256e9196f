import AttentionLanguageModels
import AttentionTensors

/// Packed sequences, independent of each other.
public struct Batch: Sendable {
  /// The model's input tokens, int32 `[1, tokens]`.
  public let inputs: Tensor
  /// The next token of each, int32 `[1, tokens]`.
  public let targets: Tensor
  /// Cumulative lengths of the sequences in ``inputs``: int32 `[sequences + 1]`.
  public let cumulativeLengths: Tensor

  public var tokenCount: Int { inputs.elementCount }

  /// - Throws: `TensorError.outOfMemory(requestedBytes:heldBytes:)` if memory is exhausted.
  init(_ text: PackedText, pieces: [PairSequence.Piece]) throws {
    let count = pieces.reduce(0) { $0 + $1.count }
    /// The tokens `distance` after those of the pieces.
    func tokens(_ distance: Int) throws -> Tensor {
      try Tensor.filling([1, count], as: Int32.self) { target in
        var place = 0
        for piece in pieces {
          for byte in text.bytes[piece.start + distance..<piece.start + distance + piece.count] {
            target[place] = Int32(byte)
            place += 1
          }
        }
      }
    }
    var lengths: [Int32] = [0]
    for piece in pieces { lengths.append(lengths[lengths.count - 1] + Int32(piece.count)) }
    inputs = try tokens(0)
    targets = try tokens(1)
    cumulativeLengths = try Tensor(lengths)
  }
}
