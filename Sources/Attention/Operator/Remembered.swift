import Synchronization

/// Values that follow from their keys alone, worked out once: what a short call must not wait for each
/// time.
final class Remembered<Key: Hashable & Sendable, Value: Sendable>: Sendable {
  /// Keys that are kept; more come only from calls that are never repeated.
  private static var limit: Int { 1024 }

  private struct State {
    var values: [Key: Value] = [:]
    /// The one asked for last: comparing a key takes less time than hashing it.
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

  /// The value of `key`, worked out by `make` if it is not known. Errors are not kept.
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
