import Synchronization

/// Values that follow from their keys alone, worked out once: what a short call on a GPU must not wait for
/// each time.
final class Remembered<Key: Hashable & Sendable, Value: Sendable>: Sendable {
  /// Keys that are kept; more come only from calls that are never repeated.
  private static var limit: Int { 1024 }

  private let values = Mutex<[Key: Value]>([:])

  /// The value of `key`, worked out by `make` if it is not known. Errors are not kept.
  func value(of key: Key, make: () throws -> Value) rethrows -> Value {
    if let known = values.withLock({ $0[key] }) { return known }
    let value = try make()
    values.withLock { values in
      if values.count >= Self.limit { values = [:] }
      values[key] = value
    }
    return value
  }
}
