import AttentionCUDA
import Synchronization

/// The work of one GPU, in order: every operation on its tensors is put in here, and nobody waits for
/// it but who reads values.
///
/// Memory is taken and given back in the same order, so a tensor may be released while kernels that
/// read it are still to run. It must live until they are queued.
public final class DeviceQueue: Sendable {
  /// Where tensors of this queue are.
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

  /// Fresh memory, not initialised; where tests fill fresh memory with NaN, so is this.
  ///
  /// - Parameters:
  ///   - byteCount: its size.
  ///   - label: what it is for, named when memory runs out.
  public func memory(
    _ byteCount: Int, _ label: @autoclosure @escaping @Sendable () -> String
  ) throws -> DeviceMemory {
    let memory = try DeviceMemory(byteCount, for: label(), in: stream)
    let nan: UInt8 = 0xFF
    if MemoryPool.poisonsFreshMemory { try stream.fill(memory, with: nan) }
    return memory
  }

  /// A copy of `values` on the device, as a table that kernels read. It must live until they are
  /// queued.
  public func upload<T: BitwiseCopyable>(_ values: [T], _ label: String) throws -> DeviceMemory {
    try values.withUnsafeBytes { bytes in
      let memory = try DeviceMemory(bytes.count, for: label, in: stream)
      try staging.send(bytes, to: memory)
      return memory
    }
  }

  /// Copies `bytes` to the device. They may change as soon as this returns.
  func send(_ bytes: UnsafeRawBufferPointer, to memory: DeviceMemory) throws {
    try staging.send(bytes, to: memory)
  }

  /// Copies the bytes of `memory` from `offset` on, and waits for the work before.
  func receive(
    _ memory: DeviceMemory, at offset: Int, into target: UnsafeMutableRawBufferPointer
  ) throws {
    try staging.receive(memory, at: offset, into: target)
  }

  /// Queues a kernel of this package.
  ///
  /// - Parameters:
  ///   - kernel: its source without the ending, as `layers/softmax`; the source's function has the
  ///     same name with `_` for `/`.
  ///   - element: what the source's macro `ELEMENT` stands for, where it has one.
  ///   - definitions: other macros with their values, as `WIDTH=64`.
  ///   - isSpecific: whether it uses instructions that only its architecture has.
  ///   - grid: blocks along its axes; nothing is launched where there are none along one.
  ///   - threads: of a block.
  ///   - sharedBytes: shared memory of a block.
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

  /// ``launch(_:element:definitions:isSpecific:grid:threads:sharedBytes:_:)`` of a kernel that is kept,
  /// with the shared memory that it asks for.
  public func launch(
    _ kernel: DeviceKernel, grid: (Int, Int, Int), threads: Int, _ parameters: some BitwiseCopyable
  ) throws {
    guard grid.0 > 0, grid.1 > 0, grid.2 > 0 else { return }
    try kernel.module(on: device).launch(
      grid: grid, threads: threads, sharedBytes: kernel.request.sharedBytes, parameters, in: stream)
  }

  /// The kernel, found again without putting names together.
  private func module(_ request: KernelRequest) throws -> KernelModule {
    if let module = modules.withLock({ $0[request] }) { return module }
    let module = try device.module(request.variant(on: device))
    modules.withLock { $0[request] = module }
    return module
  }

  /// ``launch(_:element:definitions:isSpecific:grid:threads:sharedBytes:_:)`` with blocks along one axis.
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
  /// What kernels call this type, as the value of `ELEMENT`.
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

  /// The number by which kernels tell types apart at run time: `type_f32` and so on in
  /// `tile/numbers.cuh`.
  public var kernelType: Int32 {
    switch self {
    case .float32: 0
    case .bfloat16: 1
    case .float16: 2
    case .float64: 3
    case .int32: 4
    case .int64: 5
    case .bool: 6
    }
  }
}
