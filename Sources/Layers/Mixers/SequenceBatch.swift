import AttentionTensors

/// Sequences of any lengths that are continued together by one token each.
public struct SequenceBatch: Sendable {
  /// The context of each sequence alone: a batch of 1.
  public let each: [TokenContext]
  /// The context of all: a batch of as many as there are sequences, each at its own position.
  public let all: TokenContext

  /// - Parameters:
  ///   - tokenCounts: how many tokens each sequence has read.
  ///   - device: where the tokens are.
  /// - Throws: ``LayerError/invalidArgument(_:was:mustBe:)``.
  public init(tokenCounts: [Int], device: Device = .cpu) throws {
    each = try tokenCounts.map {
      try TokenContext(batch: 1, length: 1, offset: $0, device: device)
    }
    all = try TokenContext(offsets: tokenCounts, device: device)
  }

  public var count: Int { each.count }

  /// Every context.
  public var contexts: [TokenContext] { each + [all] }
}

extension TokenMixer {
  /// The sequences one after the other.
  public func mixEach(
    _ x: Tensor, _ sequences: SequenceBatch, caches: inout [(any MixerCache)?]
  ) throws -> Tensor {
    let outputs = try sequences.each.indices.map { index in
      try self(
        x.sliced(0, index..<index + 1), context: sequences.each[index], cache: &caches[index])
    }
    return try .concatenated(outputs, 0)
  }

  public func mixTogether(
    _ x: Tensor, _ sequences: SequenceBatch, caches: inout [(any MixerCache)?]
  ) throws -> Tensor {
    try mixEach(x, sequences, caches: &caches)
  }
}
