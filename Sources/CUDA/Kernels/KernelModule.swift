import AttentionCUDAInterface

/// Machine code on a device, with the one function that a kernel source has.
public final class KernelModule: @unchecked Sendable {
  public let device: CUDADevice
  /// Registers a thread, and bytes a thread that spilled out of them.
  public let registers: Int
  public let localBytes: Int
  /// What every launch may ask for of shared memory, whatever its module was loaded for.
  public static let plainSharedBytes = 48 << 10

  private let module: OpaquePointer?
  private let function: OpaquePointer?

  /// Loads machine code.
  ///
  /// - Parameters:
  ///   - name: the function's name, declared `extern "C"`.
  ///   - sharedBytes: the dynamic shared memory that launches will ask for.
  init(_ code: [UInt8], function name: String, sharedBytes: Int, on device: CUDADevice) throws {
    guard sharedBytes <= device.limits.sharedBytesPerBlock else {
      throw CUDAError.invalidArgument(
        "shared memory of \(name)", was: "\(sharedBytes) bytes a block",
        mustBe: "at most the \(device.limits.sharedBytesPerBlock) of \(device.limits.name)")
    }
    self.device = device
    var module: OpaquePointer?
    try device.call("cuModuleLoadData") { driver in
      code.withUnsafeBytes { driver.cuModuleLoadData(&module, $0.baseAddress) }
    }
    self.module = module
    var function: OpaquePointer?
    try device.call("cuModuleGetFunction") { $0.cuModuleGetFunction(&function, module, name) }
    self.function = function
    try device.call("cuFuncSetAttribute") {
      $0.cuFuncSetAttribute(
        function, Int32(CUDA_FUNCTION_DYNAMIC_SHARED_BYTES),
        Int32(max(sharedBytes, Self.plainSharedBytes)))
    }
    var (registers, local): (Int32, Int32) = (0, 0)
    try device.call("cuFuncGetAttribute") {
      $0.cuFuncGetAttribute(&registers, Int32(CUDA_FUNCTION_REGISTERS), function)
    }
    try device.call("cuFuncGetAttribute") {
      $0.cuFuncGetAttribute(&local, Int32(CUDA_FUNCTION_LOCAL_BYTES), function)
    }
    (self.registers, localBytes) = (Int(registers), Int(local))
  }

  deinit {
    // There is nobody left to tell of a failure.
    try? device.call("cuModuleUnload") { $0.cuModuleUnload(module) }
  }

  /// Queues a launch.
  ///
  /// - Parameters:
  ///   - grid: blocks along each axis.
  ///   - threads: threads a block.
  ///   - parameters: the bytes of the kernel's one parameter, a struct.
  public func launch<Parameters: BitwiseCopyable>(
    grid: (Int, Int, Int), threads: Int, sharedBytes: Int, _ parameters: Parameters,
    in stream: Stream
  ) throws {
    try withUnsafePointer(to: parameters) { pointer in
      var list: UnsafeMutableRawPointer? = UnsafeMutableRawPointer(mutating: pointer)
      try device.call("cuLaunchKernel") {
        $0.cuLaunchKernel(
          function, UInt32(grid.0), UInt32(grid.1), UInt32(grid.2), UInt32(threads), 1, 1,
          UInt32(sharedBytes), stream.handle, &list, nil)
      }
    }
  }
}
