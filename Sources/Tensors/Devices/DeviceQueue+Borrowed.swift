import AttentionCUDA
import Synchronization

extension DeviceQueue {
  /// The queue that replaces the GPU's own for operations of the current task.
  @TaskLocal static var selected: DeviceQueue?

  /// Identifies another library's stream. A destroyed stream's handle may be reused for a new one.
  private struct BorrowedStream: Hashable, Sendable {
    let device: Int
    let handle: UInt
  }

  /// CU_STREAM_PER_THREAD, a handle that means a different stream in each thread.
  private static let perThread: UInt = 2

  private static let borrowed = Mutex<[BorrowedStream: DeviceQueue]>([:])

  /// The queue over another library's CUstream; nil is the default stream.
  ///
  /// - Parameters:
  ///   - stream: must outlive the work enqueued in the queue.
  ///   - index: the GPU's index.
  /// - Throws: `CUDAError` if there is no such GPU or the handle is CU_STREAM_PER_THREAD.
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

  /// Runs `body` with operations on this queue's GPU enqueued here. Restores the thread's CUDA context
  /// afterwards.
  package func whileSelected<R>(_ body: () throws -> R) throws -> R {
    try device.keepingContext { try DeviceQueue.$selected.withValue(self, operation: body) }
  }
}
