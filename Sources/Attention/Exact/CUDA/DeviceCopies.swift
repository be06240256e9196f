import CUDA
import Tensors

/// A [batch, length, heads, dimension] tensor on a device, rows padded with zeros.
struct DeviceRows {
  /// As `Rows` in `attention/forward.cu`: where the first element is, and strides in elements.
  struct Place: BitwiseCopyable {
    var base: UInt64
    var batch: Int64
    var row: Int64
    var head: Int64
  }

  let memory: DeviceMemory
  let place: Place
  /// The elements from one row to the next.
  let pitch: Int
  let dtype: DType
}

/// Tensors of the processor on their way to a device and back, in one stream.
final class DeviceCopies {
  let stream: Stream
  private let device: CUDADevice
  /// What the stream still reads.
  private var staging: [PinnedMemory] = []

  init(_ device: CUDADevice) throws {
    self.device = device
    stream = try Stream(device)
  }

  /// Fresh memory; where tests fill fresh memory with NaN, outputs are.
  func memory(_ byteCount: Int, _ label: String, isOutput: Bool = false) throws -> DeviceMemory {
    let memory = try DeviceMemory(byteCount, for: label, in: stream)
    let nan: UInt8 = 0xFF
    if isOutput, MemoryPool.poisonsFreshMemory { try stream.fill(memory, with: nan) }
    return memory
  }

  /// Fresh memory for a result of `shape`.
  func rows(_ shape: Shape, _ label: String, paddedTo pitch: Int, _ dtype: DType) throws
    -> DeviceRows
  {
    let count = shape[0] * shape[1] * shape[2]
    let memory = try memory(count * pitch * dtype.size, label, isOutput: true)
    return place(memory, shape, pitch, dtype)
  }

  private func place(_ memory: DeviceMemory, _ shape: Shape, _ pitch: Int, _ dtype: DType)
    -> DeviceRows
  {
    let row = shape[2] * pitch
    return DeviceRows(
      memory: memory,
      place: .init(
        base: memory.address, batch: Int64(shape[1] * row), row: Int64(row), head: Int64(pitch)),
      pitch: pitch, dtype: dtype)
  }

  /// Copies a tensor.
  func upload(rows tensor: Tensor, _ label: String, paddedTo pitch: Int) throws -> DeviceRows {
    let dense = try tensor.contiguous()
    let dimension = tensor.shape[3] * tensor.dtype.size
    let padded = pitch * tensor.dtype.size
    let count = tensor.shape[0] * tensor.shape[1] * tensor.shape[2]
    let memory = try send(count * padded, label) { target in
      try dense.withUnsafeRawPointer { source in
        Self.copyRows(count, source, dimension, target, padded, paddingTo: padded)
      }
    }
    return place(memory, tensor.shape, pitch, tensor.dtype)
  }

  func upload<T: BitwiseCopyable>(_ values: [T], _ label: String) throws -> DeviceMemory {
    try values.withUnsafeBytes { source in
      try send(source.count, label) { target in
        if let base = source.baseAddress {
          target.copyMemory(from: base, byteCount: source.count)
        }
      }
    }
  }

  /// Copies a dense tensor as it is.
  func upload(bytes tensor: Tensor, _ label: String) throws -> DeviceMemory {
    try send(tensor.byteCount, label) { target in
      try tensor.withUnsafeRawPointer {
        target.copyMemory(from: $0, byteCount: tensor.byteCount)
      }
    }
  }

  private func send(
    _ byteCount: Int, _ label: String, _ fill: (UnsafeMutableRawPointer) throws -> Void
  ) throws -> DeviceMemory {
    let memory = try memory(byteCount, label)
    let pinned = try PinnedMemory(byteCount, on: device)
    if let base = pinned.bytes.baseAddress { try fill(base) }
    staging.append(pinned)
    try stream.copy(UnsafeRawBufferPointer(pinned.bytes), to: memory)
    return memory
  }

  /// Waits for the work in the stream and copies its result.
  func download(_ rows: DeviceRows, _ shape: Shape, _ dtype: DType) throws -> Tensor {
    let pinned = try receive(rows.memory)
    let dimension = shape[3] * dtype.size
    return try Tensor.filling(shape, dtype: dtype) { target in
      guard let source = pinned.bytes.baseAddress else { return }
      Self.copyRows(
        shape[0] * shape[1] * shape[2], source, rows.pitch * dtype.size, target, dimension,
        paddingTo: dimension)
    }
  }

  /// The same of a dense result.
  func download(_ memory: DeviceMemory, _ shape: Shape, _ dtype: DType) throws -> Tensor {
    let pinned = try receive(memory)
    return try Tensor.filling(shape, dtype: dtype) { target in
      if let source = pinned.bytes.baseAddress {
        target.copyMemory(from: source, byteCount: shape.elementCount * dtype.size)
      }
    }
  }

  private func receive(_ memory: DeviceMemory) throws -> PinnedMemory {
    let pinned = try PinnedMemory(memory.byteCount, on: device)
    try stream.copy(memory, to: pinned.bytes)
    try stream.synchronize()
    staging = []
    return pinned
  }

  /// Copies rows between two distances, the shorter of them whole, and fills up with zeros.
  private static func copyRows(
    _ count: Int, _ source: UnsafeRawPointer, _ from: Int, _ target: UnsafeMutableRawPointer,
    _ to: Int, paddingTo width: Int
  ) {
    let bytes = min(from, to)
    for row in 0..<count {
      let place = target + row * to
      place.copyMemory(from: source + row * from, byteCount: bytes)
      if bytes < width {
        (place + bytes).initializeMemory(as: UInt8.self, repeating: 0, count: width - bytes)
      }
    }
  }
}
