import Synchronization
import Testing

@testable import AttentionTensors

private let turn = Mutex(())

/// Runs `body` with loops on `count` threads, one caller at a time. Concurrent tests see the number too, which
/// does not affect their results.
package func withThreads<R>(_ count: Int, _ body: () throws -> R) rethrows -> R {
  try turn.withLock { _ in
    let before = Threads.count
    Threads.count = count
    defer { Threads.count = before }
    return try body()
  }
}

/// Checks that `results` are bitwise the same on 1, 2, 3 and 8 threads.
package func expectSameBits(
  _ label: String = "", sourceLocation: SourceLocation = #_sourceLocation,
  _ results: () throws -> [Tensor]
) throws {
  func bits(_ tensor: Tensor) throws -> [UInt8] {
    let dense = try tensor.detached().contiguous()
    return try dense.withUnsafeRawPointer {
      Array(UnsafeRawBufferPointer(start: $0, count: dense.elementCount * dense.dtype.size))
    }
  }
  let alone = try withThreads(1) { try results().map(bits) }
  for count in [2, 3, 8] {
    let several = try withThreads(count) { try results().map(bits) }
    let isSame = several == alone
    #expect(isSame, "\(label), \(count) threads", sourceLocation: sourceLocation)
  }
}
