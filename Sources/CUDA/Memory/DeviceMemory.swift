import AttentionCUDAInterface

/// Memory of a device, taken and given back in the order of a stream: of what was given back before, or
/// from the driver's pool.
public final class DeviceMemory: @unchecked Sendable {
  public let byteCount: Int
  /// The address on the device.
  public let address: UInt64
  private let stream: Stream
  /// In the ledger; nil for memory of somebody else.
  private let number: UInt64?
  /// nil where it goes back to the driver.
  private let size: BlockSize?

  /// Takes memory, not initialised. Work that is queued in `stream` from now on may use it.
  ///
  /// - Parameter label: what it is for, named when memory runs out.
  /// - Throws: ``CUDAError/outOfMemory(_:)``
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
    // A graph that is run again must not meet memory that others have meanwhile: it takes its own.
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

  /// Memory of somebody else, who lets it live until the work that uses it is done.
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

  /// - Throws: ``CUDAError/invalidArgument(_:was:mustBe:)`` unless `count` bytes from `offset` on are
  ///   within the memory.
  func check(count: Int, at offset: Int) throws {
    guard offset >= 0, count <= byteCount - offset else {
      throw CUDAError.invalidArgument(
        "copy", was: "of \(count) bytes at \(offset)",
        mustBe: "within the memory's \(byteCount)")
    }
  }
}

/// Memory of the processor that the device reads and writes itself, so that copies overlap work.
public final class PinnedMemory: @unchecked Sendable {
  public let bytes: UnsafeMutableRawBufferPointer
  private let device: CUDADevice

  /// Takes page-locked memory, not initialised.
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
    // There is nobody left to tell of a failure.
    try? device.call("cuMemFreeHost") { $0.cuMemFreeHost(bytes.baseAddress) }
  }
}
