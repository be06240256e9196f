import Glibc

/// In place of Synchronization's, for ThreadSanitizer: that one waits by calls of the system that the
/// sanitizer does not see, so that everything under it looks like a race. A module's own declaration comes
/// before an imported one.
struct Mutex<Value>: @unchecked Sendable {
  private final class Box {
    let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    var value: Value

    init(_ value: Value) {
      self.value = value
      pthread_mutex_init(lock, nil)
    }

    deinit {
      pthread_mutex_destroy(lock)
      lock.deallocate()
    }
  }

  private let box: Box

  init(_ value: Value) { box = Box(value) }

  func withLock<R, E: Error>(_ body: (inout Value) throws(E) -> R) throws(E) -> R {
    pthread_mutex_lock(box.lock)
    defer { pthread_mutex_unlock(box.lock) }
    return try body(&box.value)
  }
}
