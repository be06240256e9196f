import AttentionCUDAInterface

/// A block of device memory, allocated and freed in stream order: from the stream's kept blocks, or from
/// the driver's pool.
public final class DeviceMemory: @unchecked Sendable {
  public let byteCount: Int
  /// The address on the device.
  public let address: UInt64
  private let stream: Stream
  /// Number of the entry in the ledger; nil for borrowed memory.
  private let number: UInt64?
  /// Size class; nil if the block returns to the driver's pool.
  private let size: BlockSize?

  /// Allocates uninitialised memory. Work enqueued in `stream` from now on may use it.
  ///
  /// - Parameter label: its purpose, named in the report when memory runs out.
  /// - Throws: ``CUDAError/outOfMemory(_:)`` if the device or the cap cannot hold it.
  public init(
    _ byteCount: Int, for label: @autoclosure @escaping @Sendable () -> String, in stream: Stream
  ) throws {
    guard byteCount >= 0 else {
      throw CUDAError.invalidArgument("byteCount", was: "\(byteCount)", mustBe: "at least 0")
    }
    let device = stream.device
    self.byteCount = byteCount
    self.stream = stream
    let number = try device.ledger.hold(label(), bytes: byteCount)
    self.number = number
    // A replayed graph must not write to a block that has since been reused, so it has memory of its own.
    size = stream.isCapturing ? nil : stream.freeBlocks.size(for: byteCount)
    do {
      address =
        try size.flatMap { stream.freeBlocks.take($0) }
        ?? stream.allocate(size?.bytes ?? byteCount)
    } catch CUDAError.call(_, code: Int(CUDA_OUT_OF_MEMORY), text: _) {
      throw CUDAError.outOfMemory(
        device.ledger.refusal(number, deviceBytes: device.limits.memoryBytes))
    } catch {
      device.ledger.release(number)
      throw error
    }
  }

  /// Memory owned by the caller, who must keep it allocated until the work that uses it is done.
  package init(borrowing address: UInt64, byteCount: Int, in stream: Stream) {
    self.byteCount = byteCount
    self.address = address
    self.stream = stream
    number = nil
    size = nil
  }

  deinit {
    guard let number else { return }
    stream.device.ledger.release(number)
    if let size, stream.freeBlocks.keep(address, size) { return }
    stream.free(address)
  }

  /// - Throws: ``CUDAError/invalidArgument(_:was:mustBe:)`` unless the `count` bytes starting at `offset` are
  ///   within the memory.
  func check(count: Int, at offset: Int) throws {
    guard offset >= 0, count <= byteCount - offset else {
      throw CUDAError.invalidArgument(
        "copy", was: "of \(count) bytes at \(offset)",
        mustBe: "within the memory's \(byteCount)")
    }
  }
}

/// Page-locked host memory, which the device accesses directly, so that copies overlap with work.
public final class PinnedMemory: @unchecked Sendable {
  public let bytes: UnsafeMutableRawBufferPointer
  private let device: CUDADevice

  /// Allocates uninitialised page-locked memory.
  public init(_ byteCount: Int, on device: CUDADevice) throws {
    guard byteCount >= 0 else {
      throw CUDAError.invalidArgument("byteCount", was: "\(byteCount)", mustBe: "at least 0")
    }
    self.device = device
    var base: UnsafeMutableRawPointer?
    try device.call("cuMemAllocHost") { $0.cuMemAllocHost(&base, max(1, byteCount)) }
    bytes = UnsafeMutableRawBufferPointer(start: base, count: byteCount)
  }

  deinit {
    // A failure cannot be reported from here.
    try? device.call("cuMemFreeHost") { $0.cuMemFreeHost(bytes.baseAddress) }
  }
}
