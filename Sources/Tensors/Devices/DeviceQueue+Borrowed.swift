import AttentionCUDA
import Synchronization

extension DeviceQueue {
  /// The queue that operations of this thread on its GPU go into, in place of the GPU's own.
  @TaskLocal static var selected: DeviceQueue?

  /// A stream of somebody else. Streams that were destroyed leave their handles to others.
  private struct BorrowedStream: Hashable, Sendable {
    let device: Int
    let handle: UInt
  }

  /// CU_STREAM_PER_THREAD: one handle for a stream in each thread.
  private static let perThread: UInt = 2

  private static let borrowed = Mutex<[BorrowedStream: DeviceQueue]>([:])

  /// The queue over a stream that another library made, as CUstream; nil is the default stream.
  ///
  /// - Parameters:
  ///   - stream: lives as long as work is put into the queue.
  ///   - index: the GPU's number.
  /// - Throws: `CUDAError` if there is no such GPU, or if the handle means another stream in each thread.
  package static func borrowing(stream: OpaquePointer?, on index: Int) throws -> DeviceQueue {
    let key = BorrowedStream(device: index, handle: UInt(bitPattern: stream))
    guard key.handle != perThread else {
      throw CUDAError.invalidArgument(
        "stream", was: "CU_STREAM_PER_THREAD", mustBe: "one that is the same in all threads")
    }
    return try borrowed.withLock { queues in
      if let queue = queues[key] { return queue }
      let queue = DeviceQueue(Stream(borrowing: stream, on: try CUDADevice.at(index)))
      queues[key] = queue
      return queue
    }
  }

  /// Runs `body`, whose operations on this queue's GPU go into this queue. The thread has the context
  /// after it that it had before.
  package func whileSelected<R>(_ body: () throws -> R) throws -> R {
    try device.keepingContext { try DeviceQueue.$selected.withValue(self, operation: body) }
  }
}
