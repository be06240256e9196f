import AttentionCUDA
import AttentionCUDAKernels
import Synchronization

/// The stream of a GPU that all operations on its tensors are enqueued in. They run in order and
/// asynchronously: only reading values waits for them.
///
/// Memory is allocated and freed in stream order, so a tensor may be released while kernels that read it are
/// pending. It must live until they are enqueued.
public final class DeviceQueue: Sendable {
  /// The device of this queue's tensors.
  let place: Device
  public let device: CUDADevice
  public let stream: Stream
  private let staging: PinnedStaging
  private let modules = Mutex<[KernelRequest: KernelModule]>([:])

  private static let queues = Mutex<[Int: DeviceQueue]>([:])

  /// The queue of a GPU.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if the device is the processor,
  ///   `CUDAError` if there is no such GPU.
  public static func shared(for device: Device) throws -> DeviceQueue {
    guard case .cuda(let index) = device else {
      throw TensorError.invalidArgument("device", was: "\(device)", mustBe: "a GPU, as cuda:0")
    }
    if let selected, selected.place == device { return selected }
    return try queues.withLock { queues in
      if let queue = queues[index] { return queue }
      let queue = try DeviceQueue(index)
      queues[index] = queue
      return queue
    }
  }

  private convenience init(_ index: Int) throws {
    self.init(try Stream(CUDADevice.at(index)))
  }

  init(_ stream: Stream) {
    self.stream = stream
    device = stream.device
    place = .cuda(device.index)
    staging = PinnedStaging(stream)
  }

  /// Uninitialised memory, or memory filled with NaN while ``MemoryPool/poisonsFreshMemory`` is set.
  ///
  /// - Parameters:
  ///   - byteCount: its size in bytes.
  ///   - label: its purpose, named when memory runs out.
  public func memory(
    _ byteCount: Int, _ label: @autoclosure @escaping @Sendable () -> String
  ) throws -> DeviceMemory {
    let memory = try DeviceMemory(byteCount, for: label(), in: stream)
    let nan: UInt8 = 0xFF
    if MemoryPool.poisonsFreshMemory { try stream.fill(memory, with: nan) }
    return memory
  }

  /// A copy of `values` on the device, for example a table that kernels read. It must live until they are
  /// enqueued.
  public func upload<T: BitwiseCopyable>(_ values: [T], _ label: String) throws -> DeviceMemory {
    try values.withUnsafeBytes { bytes in
      let memory = try DeviceMemory(bytes.count, for: label, in: stream)
      try staging.send(bytes, to: memory)
      return memory
    }
  }

  /// Copies `bytes` to the device. The source may change as soon as this returns.
  func send(_ bytes: UnsafeRawBufferPointer, to memory: DeviceMemory) throws {
    try staging.send(bytes, to: memory)
  }

  /// Copies bytes of `memory` from `offset` on to the host. Waits for the work before.
  func receive(
    _ memory: DeviceMemory, at offset: Int, into target: UnsafeMutableRawBufferPointer
  ) throws {
    try staging.receive(memory, at: offset, into: target)
  }

  /// Enqueues a kernel of this package.
  ///
  /// - Parameters:
  ///   - kernel: its source without the extension, such as `layers/softmax`; its function has the same name
  ///     with `_` in place of `/`.
  ///   - element: the value of the source's macro `ELEMENT`, if it has one.
  ///   - definitions: other macro definitions, such as `WIDTH=64`.
  ///   - isSpecific: whether it uses architecture-specific instructions.
  ///   - grid: blocks along each axis; nothing is launched if one is 0.
  ///   - threads: threads per block.
  ///   - sharedBytes: shared memory per block.
  ///   - parameters: the kernel's parameters, field by field as it declares them. Tensors and memory
  ///     whose addresses are among them must live until this returns.
  public func launch(
    _ kernel: String, element: DType? = nil, definitions: [String] = [], isSpecific: Bool = false,
    grid: (Int, Int, Int), threads: Int, sharedBytes: Int = 0,
    _ parameters: some BitwiseCopyable
  ) throws {
    guard grid.0 > 0, grid.1 > 0, grid.2 > 0 else { return }
    let request = KernelRequest(
      name: kernel, element: element, definitions: definitions, sharedBytes: sharedBytes,
      isSpecific: isSpecific)
    try module(request).launch(
      grid: grid, threads: threads, sharedBytes: sharedBytes, parameters, in: stream)
  }

  /// ``launch(_:element:definitions:isSpecific:grid:threads:sharedBytes:_:)`` for a kernel that the caller
  /// keeps, with its shared memory. Where it is cooperative, all its blocks run at the same time.
  public func launch(
    _ kernel: DeviceKernel, grid: (Int, Int, Int), threads: Int, isCooperative: Bool = false,
    _ parameters: some BitwiseCopyable
  ) throws {
    guard grid.0 > 0, grid.1 > 0, grid.2 > 0 else { return }
    try kernel.module(on: device).launch(
      grid: grid, threads: threads, sharedBytes: kernel.request.sharedBytes,
      isCooperative: isCooperative, parameters, in: stream)
  }

  /// The kernel, looked up without composing names.
  private func module(_ request: KernelRequest) throws -> KernelModule {
    if let module = modules.withLock({ $0[request] }) { return module }
    let module = try device.module(request.variant(on: device))
    modules.withLock { $0[request] = module }
    return module
  }

  /// ``launch(_:element:definitions:isSpecific:grid:threads:sharedBytes:_:)`` on a one-dimensional grid.
  public func launch(
    _ kernel: String, element: DType? = nil, definitions: [String] = [], blocks: Int,
    threads: Int, sharedBytes: Int = 0, _ parameters: some BitwiseCopyable
  ) throws {
    try launch(
      kernel, element: element, definitions: definitions, grid: (blocks, 1, 1),
      threads: threads, sharedBytes: sharedBytes, parameters)
  }
}

extension DType {
  /// The kernels' name of this type, as the macro `ELEMENT`.
  var kernelName: String {
    switch self {
    case .float32: "f32"
    case .bfloat16: "bf16"
    case .float16: "f16"
    case .float64: "f64"
    case .int32: "i32"
    case .int64: "i64"
    case .bool: "u8"
    }
  }

  /// The number that kernels use for this type at run time: `type_f32` and so on in `tile/numbers.cuh`.
  public var kernelType: Int32 {
    let number =
      switch self {
      case .float32: type_f32
      case .bfloat16: type_bf16
      case .float16: type_f16
      case .float64: type_f64
      case .int32: type_i32
      case .int64: type_i64
      case .bool: type_bool
      }
    return Int32(number)
  }
}

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
