import LanguageModels
import Tensors

/// Sequences packed one behind the other, none of which sees another.
public struct Batch: Sendable {
  /// The tokens the model reads, int32 `[1, tokens]`.
  public let inputs: Tensor
  /// The token that follows each, int32 `[1, tokens]`.
  public let targets: Tensor
  /// Where sequences begin in ``inputs``, and their end: int32 `[sequences + 1]`.
  public let cumulativeLengths: Tensor

  public var tokenCount: Int { inputs.elementCount }

  init(_ text: PackedText, pieces: [PairSequence.Piece]) throws {
    var inputs: [Int32] = []
    var targets: [Int32] = []
    var lengths: [Int32] = [0]
    for piece in pieces {
      inputs += text.bytes[piece.start..<piece.start + piece.count].lazy.map(Int32.init)
      targets += text.bytes[piece.start + 1...piece.start + piece.count].lazy.map(Int32.init)
      lengths.append(Int32(inputs.count))
    }
    self.inputs = try Tensor(inputs, [1, inputs.count])
    self.targets = try Tensor(targets, [1, targets.count])
    self.cumulativeLengths = try Tensor(lengths)
  }
}
