import Synchronization

/// Cached values of a pure function of their keys, so that short calls do not recompute them.
final class Remembered<Key: Hashable & Sendable, Value: Sendable>: Sendable {
  /// The capacity; only calls that are never repeated exceed it.
  private static var limit: Int { 1024 }

  private struct State {
    var values: [Key: Value] = [:]
    /// The key requested last: comparing a key is faster than hashing it.
    var latestKey: Key?
    var latestValue: Value?

    mutating func find(_ key: Key) -> Value? {
      if latestKey == key { return latestValue }
      guard let known = values[key] else { return nil }
      (latestKey, latestValue) = (key, known)
      return known
    }
  }

  private let state = Mutex(State())

  /// The value of `key`, computed by `make` if it is not cached. Errors are not cached.
  func value(of key: Key, make: () throws -> Value) rethrows -> Value {
    if let known = state.withLock({ $0.find(key) }) { return known }
    let value = try make()
    state.withLock { state in
      if state.values.count >= Self.limit { state.values = [:] }
      state.values[key] = value
    }
    return value
  }
}
