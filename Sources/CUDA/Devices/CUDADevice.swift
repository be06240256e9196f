import AttentionCUDAInterface
import Synchronization

/// A GPU of this machine. Its work runs in the driver's primary context.
///
/// The current context belongs to a thread, so every operation first makes its device's context current.
public final class CUDADevice: @unchecked Sendable {
  /// Position among the devices that the driver lists.
  public let index: Int
  public let limits: DeviceLimits
  /// The memory held on the device.
  public let ledger: MemoryLedger
  let driver: Driver
  private let handle: Int32
  private let context = Mutex<Context?>(nil)

  private struct Context: @unchecked Sendable {
    let pointer: OpaquePointer?
  }

  /// All devices of this machine, in the driver's order.
  ///
  /// - Throws: ``CUDAError/unavailable(_:)`` if there is no driver or no device.
  public static func all() throws -> [CUDADevice] { try found.get() }

  private static let found = Result { () throws -> [CUDADevice] in
    let driver = try Driver.shared()
    var count: Int32 = 0
    try driver.call("cuDeviceGetCount") { $0.cuDeviceGetCount(&count) }
    return try (0..<Int(count)).map { try CUDADevice($0, driver) }
  }

  /// The device at `index`.
  ///
  /// - Throws: ``CUDAError/invalidArgument(_:was:mustBe:)`` if there is no such device.
  public static func at(_ index: Int) throws -> CUDADevice {
    let devices = try all()
    guard devices.indices.contains(index) else {
      throw CUDAError.invalidArgument(
        "device", was: "cuda:\(index)",
        mustBe: devices.count == 1 ? "cuda:0" : "cuda:0 to cuda:\(devices.count - 1)")
    }
    return devices[index]
  }

  private init(_ index: Int, _ driver: Driver) throws {
    self.index = index
    self.driver = driver
    var handle: Int32 = 0
    try driver.call("cuDeviceGet") { $0.cuDeviceGet(&handle, Int32(index)) }
    self.handle = handle
    limits = try DeviceLimits(handle, driver)
    ledger = MemoryLedger(device: "cuda:\(index)")
    ledger.cap = try MemoryCap.fromEnvironment()
  }

  /// The driver's primary context, retained on first use: a process that uses one device of several does
  /// not initialise the others.
  private func primaryContext() throws -> OpaquePointer? {
    try context.withLock { context in
      if let context { return context.pointer }
      var taken: OpaquePointer?
      try driver.call("cuDevicePrimaryCtxRetain") { $0.cuDevicePrimaryCtxRetain(&taken, handle) }
      // Freed memory stays in the pool, so that the next allocation does not go to the operating system.
      var pool: OpaquePointer?
      try driver.call("cuDeviceGetDefaultMemPool") { $0.cuDeviceGetDefaultMemPool(&pool, handle) }
      var threshold = UInt64.max
      try driver.call("cuMemPoolSetAttribute") {
        $0.cuMemPoolSetAttribute(pool, Int32(CUDA_POOL_RELEASE_THRESHOLD), &threshold)
      }
      context = Context(pointer: taken)
      return taken
    }
  }

  /// Calls a driver function in this device's context.
  func call(_ name: String, _ body: (cuda_driver) -> Int32) throws {
    try makeCurrent()
    try driver.call(name, body)
  }

  /// Makes this device's context current on the calling thread, for libraries that use the current context.
  func makeCurrent() throws {
    let context = try primaryContext()
    try driver.call("cuCtxSetCurrent") { $0.cuCtxSetCurrent(context) }
  }

  /// Runs `body`, then restores the thread's current context: other libraries choose their device by it.
  package func keepingContext<R>(_ body: () throws -> R) throws -> R {
    var before: OpaquePointer?
    try driver.call("cuCtxGetCurrent") { $0.cuCtxGetCurrent(&before) }
    let own = try primaryContext()
    defer {
      // A failure cannot be reported from here; a context that was current can be made current again.
      if before != own { _ = driver.functions.cuCtxSetCurrent(before) }
    }
    return try body()
  }

  /// Free and total memory of the device, in bytes.
  public func memory() throws -> (unused: Int, total: Int) {
    var (unused, total) = (0, 0)
    try call("cuMemGetInfo") { $0.cuMemGetInfo(&unused, &total) }
    return (unused, total)
  }
}

extension DeviceLimits {
  fileprivate init(_ handle: Int32, _ driver: Driver) throws {
    func attribute(_ name: Int) throws -> Int {
      var value: Int32 = 0
      try driver.call("cuDeviceGetAttribute") {
        $0.cuDeviceGetAttribute(&value, Int32(name), handle)
      }
      return Int(value)
    }
    let capacity = 256
    var name = [CChar](repeating: 0, count: capacity)
    try driver.call("cuDeviceGetName") { $0.cuDeviceGetName(&name, Int32(capacity), handle) }
    var bytes = 0
    try driver.call("cuDeviceTotalMem") { $0.cuDeviceTotalMem(&bytes, handle) }
    let kilohertz = 1e3
    // Double data rate; eight bits per byte.
    let memoryRate =
      2 * Double(try attribute(CUDA_MEMORY_CLOCK_KILOHERTZ)) * kilohertz
      * Double(try attribute(CUDA_MEMORY_BUS_BITS)) / 8
    self.init(
      name: String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self),
      capability: try attribute(CUDA_CAPABILITY_MAJOR) * 10 + attribute(CUDA_CAPABILITY_MINOR),
      multiprocessors: try attribute(CUDA_MULTIPROCESSORS),
      clockHertz: Double(try attribute(CUDA_CLOCK_KILOHERTZ)) * kilohertz,
      memoryBytes: bytes, memoryBytesPerSecond: memoryRate, l2Bytes: try attribute(CUDA_L2_BYTES),
      sharedBytesPerBlock: try attribute(CUDA_SHARED_BYTES_PER_BLOCK),
      sharedBytesPerMultiprocessor: try attribute(CUDA_SHARED_BYTES_PER_MULTIPROCESSOR),
      registersPerMultiprocessor: try attribute(CUDA_REGISTERS_PER_MULTIPROCESSOR),
      launchesCooperatively: try attribute(CUDA_COOPERATIVE_LAUNCH) != 0)
  }
}
