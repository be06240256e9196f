import AttentionCUDA

extension Tensor {
  /// An uninitialised contiguous tensor on a GPU; kernels make their results this way.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if the device is the CPU,
  ///   `CUDAError.outOfMemory` if the GPU's memory is exhausted.
  public static func onDevice(_ shape: Shape, dtype: DType, device: Device) throws -> Tensor {
    let queue = try DeviceQueue.shared(for: device)
    let count = try shape.validated(elementSize: dtype.size)
    let memory = try queue.memory(
      count * dtype.size, "tensor \(dtype.rawValue) \(shape)")
    return Tensor(
      storage: .device(memory, queue), shape: shape, strides: shape.contiguousStrides, offset: 0,
      dtype: dtype)
  }

  /// A contiguous tensor on a GPU with all bits zero.
  package static func clearedOnDevice(
    _ shape: Shape, dtype: DType, device: Device
  ) throws -> Tensor {
    let result = try onDevice(shape, dtype: dtype, device: device)
    if case .device(let memory, let queue) = result.storage {
      try queue.stream.fill(memory, with: 0)
    }
    return result
  }

  /// The device address of the first element; the others follow at ``strides``. It is valid for kernels
  /// enqueued while this tensor lives.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if the elements are not on a GPU.
  public func deviceAddress() throws -> UInt64 {
    guard case .device(let memory, _) = storage else {
      throw TensorError.invalidArgument("device", was: "\(device)", mustBe: "a GPU, as cuda:0")
    }
    return memory.address + UInt64(offset * dtype.size)
  }

  /// This tensor on another device, copied unless it is there already. The gradient is moved back.
  ///
  /// Moving to a GPU is asynchronous; moving from one waits for the work before. Broadcast axes stay
  /// broadcast: their elements are copied once.
  ///
  /// - Throws: `CUDAError` if there is no such GPU, its memory is exhausted, or earlier work has failed.
  public func moved(to device: Device) throws -> Tensor {
    let own = self.device
    if device == own { return self }
    if isPlaceholder { return try .placeholder(shape, dtype: dtype, device: device) }
    let stored = try detached().withoutRepetition().contiguous()
    let result: Tensor
    switch (stored.storage, device) {
    case (.host, .cuda): result = try stored.sent(to: device)
    case (.device(let memory, let queue), .cpu): result = try stored.received(memory, queue)
    case (.device(let memory, let queue), .cuda):
      result = try stored.received(memory, queue).sent(to: device)
    case (.host, .cpu), (.absent, _): return self
    }
    let expanded = try result.expanded(to: shape)
    guard dtype.isFloatingPoint else { return expanded }
    return expanded.recorded(from: [self]) { gradient, _ in [try gradient.moved(to: own)] }
  }

  /// A view with broadcast axes reduced to extent one.
  private func withoutRepetition() throws -> Tensor {
    var result = self
    for axis in 0..<rank where strides[axis] == 0 && shape[axis] > 1 {
      result = try result.sliced(axis, 0..<1)
    }
    return result
  }

  /// A copy of these contiguous elements on a GPU.
  private func sent(to device: Device) throws -> Tensor {
    let result = try Tensor.onDevice(shape, dtype: dtype, device: device)
    guard case .device(let memory, let queue) = result.storage else { return result }
    try withUnsafeRawPointer {
      try queue.send(UnsafeRawBufferPointer(start: $0, count: byteCount), to: memory)
    }
    return result
  }

  /// A copy of these contiguous elements on the host.
  private func received(_ memory: DeviceMemory, _ queue: DeviceQueue) throws -> Tensor {
    try Tensor.filling(shape, dtype: dtype) {
      try queue.receive(
        memory, at: offset * dtype.size,
        into: UnsafeMutableRawBufferPointer(start: $0, count: byteCount))
    }
  }
}
