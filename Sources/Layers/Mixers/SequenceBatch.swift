import AttentionTensors

/// Sequences of any lengths that are continued together by one token each, or successive tokens of one sequence.
public struct SequenceBatch: Sendable {
  /// The context of each sequence alone: a batch of 1.
  public let each: [TokenContext]
  /// The context of all: a batch of as many as there are sequences, each at its own position.
  public let all: TokenContext

  /// Whether each row is the token after that of the row before. Then only the first row's cache counts, and the
  /// others become those after each token.
  public let isOneSequence: Bool

  /// - Parameters:
  ///   - tokenCounts: how many tokens each row's sequence has read before it.
  ///   - isOneSequence: whether each row is the token after that of the row before.
  ///   - device: where the tokens are.
  /// - Throws: ``LayerError/invalidArgument(_:was:mustBe:)``.
  public init(tokenCounts: [Int], isOneSequence: Bool = false, device: Device = .cpu) throws {
    self.isOneSequence = isOneSequence
    each = try tokenCounts.map {
      try TokenContext(batch: 1, length: 1, offset: $0, device: device)
    }
    all = try TokenContext(offsets: tokenCounts, device: device)
  }

  public var count: Int { each.count }

  /// Every context.
  public var contexts: [TokenContext] { each + [all] }

  /// Calls `mix` for each row with its cache, the first row first.
  func forEach(
    _ caches: inout [(any MixerCache)?],
    _ mix: (Int, TokenContext, inout (any MixerCache)?) throws -> Tensor
  ) throws -> Tensor {
    let outputs = try each.indices.map { index in
      if isOneSequence, index > 0 { caches[index] = caches[index - 1] }
      return try mix(index, each[index], &caches[index])
    }
    return try .concatenated(outputs, 0)
  }
}

extension TokenMixer {
  /// The rows one after the other.
  public func mixEach(
    _ x: Tensor, _ sequences: SequenceBatch, caches: inout [(any MixerCache)?]
  ) throws -> Tensor {
    try sequences.forEach(&caches) { index, context, cache in
      try self(x.sliced(0, index..<index + 1), context: context, cache: &cache)
    }
  }

  public func mixTogether(
    _ x: Tensor, _ sequences: SequenceBatch, caches: inout [(any MixerCache)?]
  ) throws -> Tensor {
    try mixEach(x, sequences, caches: &caches)
  }
}
