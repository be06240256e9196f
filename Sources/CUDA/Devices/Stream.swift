import AttentionCUDAInterface

/// A CUDA stream: work runs in the order in which it is enqueued, asynchronously to the host.
public final class Stream: @unchecked Sendable {
  public let device: CUDADevice
  let handle: OpaquePointer?
  /// Freed blocks kept for reuse in this stream.
  let freeBlocks = FreeBlocks()
  private let isBorrowed: Bool

  public init(_ device: CUDADevice) throws {
    self.device = device
    isBorrowed = false
    var handle: OpaquePointer?
    try device.call("cuStreamCreate") {
      $0.cuStreamCreate(&handle, UInt32(CUDA_STREAM_NON_BLOCKING))
    }
    self.handle = handle
  }

  /// A stream owned by the caller, who must keep it alive longer than this object; nil is the default stream.
  package init(borrowing handle: OpaquePointer?, on device: CUDADevice) {
    self.device = device
    self.handle = handle
    isBorrowed = true
  }

  deinit {
    freeBlocks.removeAll().forEach(free)
    guard !isBorrowed else { return }
    // The driver destroys the stream once its work is done. A failure cannot be reported from here.
    try? device.call("cuStreamDestroy") { $0.cuStreamDestroy(handle) }
  }

  /// Whether enqueued work is being captured into a graph. Only a borrowed stream can be capturing.
  package var isCapturing: Bool {
    guard isBorrowed else { return false }
    var status: Int32 = 0
    // A failure is not reported here; the stream's next call meets its cause.
    try? device.call("cuStreamIsCapturing") { $0.cuStreamIsCapturing(handle, &status) }
    return status != 0
  }

  /// Allocates from the driver's pool. If the pool is exhausted, returns the kept blocks to it and tries
  /// once more.
  func allocate(_ byteCount: Int) throws -> UInt64 {
    var address: UInt64 = 0
    func ask() throws {
      // The driver rejects a size of 0.
      try device.call("cuMemAllocAsync") {
        $0.cuMemAllocAsync(&address, max(1, byteCount), handle)
      }
    }
    do {
      try ask()
    } catch CUDAError.call(_, code: Int(CUDA_OUT_OF_MEMORY), text: _) {
      freeBlocks.removeAll().forEach(free)
      try ask()
    }
    return address
  }

  /// Returns memory to the driver's pool.
  func free(_ address: UInt64) {
    // A failure is not reported here; the stream's next call meets its cause.
    try? device.call("cuMemFreeAsync") { $0.cuMemFreeAsync(address, handle) }
  }

  /// Waits until all enqueued work is done.
  ///
  /// - Throws: ``CUDAError/call(_:code:text:)`` with the error of work that failed, such as an illegal address.
  public func synchronize() throws {
    try device.call("cuStreamSynchronize") { $0.cuStreamSynchronize(handle) }
  }

  /// Enqueues a copy from host memory to the device, starting at byte `offset` of `target`. `source` must
  /// not change until the copy is done.
  public func copy(
    _ source: UnsafeRawBufferPointer, to target: DeviceMemory, at offset: Int = 0
  ) throws {
    try target.check(count: source.count, at: offset)
    guard !source.isEmpty else { return }
    try device.call("cuMemcpyHtoDAsync") {
      $0.cuMemcpyHtoDAsync(
        target.address + UInt64(offset), source.baseAddress, source.count, handle)
    }
  }

  /// Enqueues a copy from the device, starting at byte `offset` of `source`, to host memory, which must
  /// stay allocated until the copy is done.
  public func copy(
    _ source: DeviceMemory, at offset: Int = 0, to target: UnsafeMutableRawBufferPointer
  ) throws {
    try source.check(count: target.count, at: offset)
    guard !target.isEmpty else { return }
    try device.call("cuMemcpyDtoHAsync") {
      $0.cuMemcpyDtoHAsync(
        target.baseAddress, source.address + UInt64(offset), target.count, handle)
    }
  }

  /// Enqueues setting every byte of `memory` to `byte`.
  public func fill(_ memory: DeviceMemory, with byte: UInt8) throws {
    guard memory.byteCount > 0 else { return }
    try device.call("cuMemsetD8Async") {
      $0.cuMemsetD8Async(memory.address, byte, memory.byteCount, handle)
    }
  }
}

/// A marker in a stream that can be waited for and timed.
public final class Event: @unchecked Sendable {
  private let device: CUDADevice
  let handle: OpaquePointer?

  public init(_ device: CUDADevice) throws {
    self.device = device
    var handle: OpaquePointer?
    try device.call("cuEventCreate") { $0.cuEventCreate(&handle, 0) }
    self.handle = handle
  }

  deinit {
    // A failure cannot be reported from here.
    try? device.call("cuEventDestroy") { $0.cuEventDestroy(handle) }
  }

  /// Enqueues the event: it completes when the work before it is done.
  public func record(in stream: Stream) throws {
    try device.call("cuEventRecord") { $0.cuEventRecord(handle, stream.handle) }
  }

  /// Waits until the event has completed.
  public func synchronize() throws {
    try device.call("cuEventSynchronize") { $0.cuEventSynchronize(handle) }
  }

  /// The seconds from `start` to this event; both must have completed.
  public func seconds(since start: Event) throws -> Double {
    var milliseconds: Float = 0
    try device.call("cuEventElapsedTime") {
      $0.cuEventElapsedTime(&milliseconds, start.handle, handle)
    }
    return Double(milliseconds) / 1e3
  }
}
