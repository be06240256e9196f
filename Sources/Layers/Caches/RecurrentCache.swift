import AttentionTensors

/// The state of a recurrence: constant memory, however many tokens have been read.
///
/// A mixer continues from ``state`` and stores the final state of its operator with ``advance(by:to:)``.
public struct RecurrentCache: MixerCache {
  public private(set) var tokenCount = 0
  /// What the mixer's operator returned as its final state, as float32 [batch, heads, key dimension, value
  /// dimension] of linear attention; nil before the first token.
  public private(set) var state: Tensor?

  public var byteCount: Int { state?.byteCount ?? 0 }

  public init() {}

  /// Stores the state after `length` more tokens, detached from the tape.
  public mutating func advance(by length: Int, to state: Tensor) {
    tokenCount += length
    self.state = state.detached()
  }
}
