import Synchronization

@testable import Tensors

private let turn = Mutex(())

/// Runs `body` with loops on `count` threads, one caller at a time. Tests that run meanwhile see the
/// number too, which changes none of their results.
func withThreads<R>(_ count: Int, _ body: () throws -> R) rethrows -> R {
  try turn.withLock { _ in
    let before = Threads.count
    Threads.count = count
    defer { Threads.count = before }
    return try body()
  }
}
