import AttentionCUDAInterface

/// A queue of work on a device: what is put into it runs in order, and nobody waits for it unless
/// asked to.
public final class Stream: @unchecked Sendable {
  public let device: CUDADevice
  let handle: OpaquePointer?
  /// Memory that was given back.
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

  /// A stream of somebody else, who lets it live longer than this object; nil is the default stream.
  package init(borrowing handle: OpaquePointer?, on device: CUDADevice) {
    self.device = device
    self.handle = handle
    isBorrowed = true
  }

  deinit {
    freeBlocks.removeAll().forEach(free)
    guard !isBorrowed else { return }
    // The driver destroys it once its work is done. There is nobody left to tell of a failure.
    try? device.call("cuStreamDestroy") { $0.cuStreamDestroy(handle) }
  }

  /// Whether what is queued is put into a graph, to be run later and again. Only somebody else's stream
  /// can be captured.
  package var isCapturing: Bool {
    guard isBorrowed else { return false }
    var status: Int32 = 0
    // There is nobody to tell of a failure; the stream's next call meets its cause.
    try? device.call("cuStreamIsCapturing") { $0.cuStreamIsCapturing(handle, &status) }
    return status != 0
  }

  /// Memory from the driver's pool. Where it has no room, it gets back what is kept here and is asked
  /// again.
  func allocate(_ byteCount: Int) throws -> UInt64 {
    var address: UInt64 = 0
    func ask() throws {
      // The driver refuses to give no bytes.
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

  /// Gives memory back to the driver's pool.
  func free(_ address: UInt64) {
    // There is nobody to tell of a failure; the stream's next call meets its cause.
    try? device.call("cuMemFreeAsync") { $0.cuMemFreeAsync(address, handle) }
  }

  /// Waits until all work in the queue is done.
  ///
  /// - Throws: the error of work that failed, as an illegal address.
  public func synchronize() throws {
    try device.call("cuStreamSynchronize") { $0.cuStreamSynchronize(handle) }
  }

  /// Queues copying from memory of the processor to the bytes from `offset` on. It must stay as it is
  /// until the copy is done.
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

  /// Queues copying the bytes from `offset` on to memory of the processor, which must live until the
  /// copy is done.
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

  /// Queues setting every byte of `memory` to `byte`.
  public func fill(_ memory: DeviceMemory, with byte: UInt8) throws {
    guard memory.byteCount > 0 else { return }
    try device.call("cuMemsetD8Async") {
      $0.cuMemsetD8Async(memory.address, byte, memory.byteCount, handle)
    }
  }
}

/// A moment in a queue.
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
    // There is nobody left to tell of a failure.
    try? device.call("cuEventDestroy") { $0.cuEventDestroy(handle) }
  }

  /// Queues the event: it has come when the work before it is done.
  public func record(in stream: Stream) throws {
    try device.call("cuEventRecord") { $0.cuEventRecord(handle, stream.handle) }
  }

  /// Waits until the event has come.
  public func synchronize() throws {
    try device.call("cuEventSynchronize") { $0.cuEventSynchronize(handle) }
  }

  /// The seconds from `start` to this event, both of which must have come.
  public func seconds(since start: Event) throws -> Double {
    var milliseconds: Float = 0
    try device.call("cuEventElapsedTime") {
      $0.cuEventElapsedTime(&milliseconds, start.handle, handle)
    }
    return Double(milliseconds) / 1e3
  }
}
