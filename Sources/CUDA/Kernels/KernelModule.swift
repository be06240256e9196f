import AttentionCUDAInterface
import AttentionCUDAKernels

/// Machine code loaded on a device, with its one kernel function.
public final class KernelModule: @unchecked Sendable {
  public let device: CUDADevice
  /// Registers per thread; below, bytes of local memory per thread, which registers spill to.
  public let registers: Int
  public let localBytes: Int
  /// Shared memory that every launch may use without raising the function's limit.
  public static let plainSharedBytes = 48 << 10

  private let module: OpaquePointer?
  private let function: OpaquePointer?

  /// Loads machine code.
  ///
  /// - Parameters:
  ///   - name: the function's name, declared `extern "C"`.
  ///   - sharedBytes: the dynamic shared memory of its launches, in bytes.
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
    // A failure cannot be reported from here.
    try? device.call("cuModuleUnload") { $0.cuModuleUnload(module) }
  }

  /// Enqueues a launch.
  ///
  /// - Parameters:
  ///   - grid: blocks along each axis.
  ///   - threads: threads per block.
  ///   - isCooperative: whether all blocks must run at the same time.
  ///   - parameters: the kernel's only parameter, a struct passed by its bytes.
  public func launch<Parameters: BitwiseCopyable>(
    grid: (Int, Int, Int), threads: Int, sharedBytes: Int, isCooperative: Bool = false,
    _ parameters: Parameters, in stream: Stream
  ) throws {
    // The driver reads as much as the kernel declares, in which tensor maps round the size up.
    let byteCount = round_up(MemoryLayout<Parameters>.size, tensor_map_alignment)
    try withUnsafeTemporaryAllocation(byteCount: byteCount, alignment: tensor_map_alignment) {
      $0.storeBytes(of: parameters, as: Parameters.self)
      var list = $0.baseAddress
      guard !isCooperative else {
        return try device.call("cuLaunchCooperativeKernel") {
          $0.cuLaunchCooperativeKernel(
            function, UInt32(grid.0), UInt32(grid.1), UInt32(grid.2), UInt32(threads), 1, 1,
            UInt32(sharedBytes), stream.handle, &list)
        }
      }
      try device.call("cuLaunchKernel") {
        $0.cuLaunchKernel(
          function, UInt32(grid.0), UInt32(grid.1), UInt32(grid.2), UInt32(threads), 1, 1,
          UInt32(sharedBytes), stream.handle, &list, nil)
      }
    }
  }
}
