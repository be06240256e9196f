import AttentionTensors

/// The state of a recurrence: constant memory, however many tokens have been seen.
///
/// A mixer continues from ``state`` and remembers the one that its operator returns by ``advance(by:to:)``.
public struct RecurrentCache: MixerCache {
  public private(set) var tokenCount = 0
  /// What the mixer's operator returned as its final state, as float32 [batch, heads, key dimension, value
  /// dimension] of linear attention; nil before the first token.
  public private(set) var state: Tensor?

  public var byteCount: Int { state?.byteCount ?? 0 }

  public init() {}

  /// Remembers the state after `length` more tokens, without its history.
  public mutating func advance(by length: Int, to state: Tensor) {
    tokenCount += length
    self.state = state.detached()
  }
}
