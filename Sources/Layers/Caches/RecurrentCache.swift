import AttentionTensors

/// The state of a recurrence: constant memory, however many tokens have been seen.
public struct RecurrentCache: MixerCache {
  public private(set) var tokenCount = 0
  /// Float32 [batch, heads, key dimension, value dimension]; nil before the first token.
  public private(set) var state: Tensor?

  public var byteCount: Int { state?.byteCount ?? 0 }

  public init() {}

  /// Remembers the state after `length` more tokens.
  mutating func advance(by length: Int, to state: Tensor) {
    tokenCount += length
    self.state = state.detached()
  }
}
