import AttentionTensors

/// The tokens of one sequence, filled with NaN, which must not affect the others.
struct OtherSequence {
  private let batch: Int
  private let length: Int
  /// [batch, length]
  private let isOther: Tensor

  /// The longest of packed sequences, or the last of the batch.
  init(_ batch: Int, _ length: Int, _ cumulativeLengths: Tensor?) throws {
    (self.batch, self.length) = (batch, length)
    let bounds = try cumulativeLengths?.elements(as: Int32.self).map { Int($0) }
    let tokens =
      bounds.flatMap { zip($0, $0.dropFirst()).map { $0..<$1 }.max { $0.count < $1.count } }
      ?? (batch - 1) * length..<batch * length
    isOther = try Tensor((0..<batch * length).map(tokens.contains), [batch, length])
  }

  /// A tensor [batch, length, …] with NaN at the sequence's tokens and the same order of axes in memory; other
  /// tensors are returned unchanged.
  func planted(in tensor: Tensor) throws -> Tensor {
    guard tensor.rank >= 3, tensor.shape[0] == batch, tensor.shape[1] == length else {
      return tensor
    }
    let flags = try isOther.reshaped(
      Shape([batch, length] + [Int](repeating: 1, count: tensor.rank - 2)))
    return try tensor.inOrderOfMemory { tensor, order in
      try .select(
        flags.permuted(order), Tensor([Double.nan], []).cast(to: tensor.dtype), tensor)
    }
  }
}
