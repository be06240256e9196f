import AttentionCPUKernels
import AttentionCUDAKernels

/// Operations element by element on a GPU, by the kernels of `tensors/`.
extension Tensor {
  /// Operations of two operands that `tensors/binary.cu` has beyond those of the C loops.
  enum DeviceBinary {
    case plain(cpu_binary)
    /// The second operand times the gradient of ``silu()`` at the first.
    case siluGradient

    fileprivate var number: Int32 {
      switch self {
      case .plain(let operation): Int32(operation.rawValue)
      case .siluGradient: Int32(CPU_POWER.rawValue) + 1
      }
    }

    /// What `tensors/binary.cu` is compiled with.
    fileprivate func definitions(_ dtype: DType) -> [String] {
      if case .plain(CPU_POWER) = self { return [dtype.kernelNumber, "POWER=1"] }
      return [dtype.kernelNumber]
    }
  }

  /// Applies `operation` to operands of `dtype` that broadcast to one shape; either may be a number of
  /// the processor, then of any dtype of the same kind.
  static func combineOnDevice(
    _ operation: DeviceBinary, _ a: Tensor, _ b: Tensor, _ dtype: DType, _ device: Device
  ) throws -> Tensor {
    let shape = try Shape.broadcasting(a.shape, b.shape)
    let (left, right) = (try a.expanded(to: shape), try b.expanded(to: shape))
    let result = try Tensor.onDevice(shape, dtype: dtype, device: device)
    let layout = try TensorsLayout(
      shape: shape, strides: [result.strides, left.strides, right.strides])
    try withExtendedLifetime((left, right)) {
      try DeviceQueue.shared(for: device).launch(
        "tensors/binary", definitions: operation.definitions(dtype), blocks: layout.blocks,
        threads: TensorsLayout.threads,
        TensorsBinaryParameters(
          a: TensorsOperand(a), b: TensorsOperand(b), y: result.deviceAddress(),
          layout: layout, operation: operation.number, type: dtype.kernelType))
    }
    return result
  }

  /// Whether elements of `a` are equal to those of `b`, or greater.
  static func compareOnDevice(
    _ a: Tensor, _ b: Tensor, isEquality: Bool, _ device: Device
  ) throws -> Tensor {
    let shape = try Shape.broadcasting(a.shape, b.shape)
    let (left, right) = (
      try a.detached().expanded(to: shape), try b.detached().expanded(to: shape)
    )
    let result = try Tensor.onDevice(shape, dtype: .bool, device: device)
    let layout = try TensorsLayout(
      shape: shape, strides: [result.strides, left.strides, right.strides])
    try withExtendedLifetime((left, right)) {
      try DeviceQueue.shared(for: device).launch(
        "tensors/compare", definitions: [a.dtype.kernelNumber], blocks: layout.blocks,
        threads: TensorsLayout.threads,
        TensorsCompareParameters(
          a: TensorsOperand(a), b: TensorsOperand(b), y: result.deviceAddress(),
          layout: layout, is_equality: isEquality ? 1 : 0, type: a.dtype.kernelType))
    }
    return result
  }

  /// Applies `operation` to each element of a floating-point tensor.
  func mappedOnDevice(_ operation: cpu_unary) throws -> Tensor {
    let result = try Tensor.onDevice(shape, dtype: dtype, device: device)
    try launch("tensors/unary", definitions: [dtype.kernelNumber], to: result) {
      TensorsUnaryParameters(
        x: $0, y: $1, layout: $2, operation: Int32(operation.rawValue), type: dtype.kernelType)
    }
    return result
  }

  /// The elements as another dtype.
  func castOnDevice(to dtype: DType) throws -> Tensor {
    let result = try Tensor.onDevice(shape, dtype: dtype, device: device)
    try castElements(to: result)
    return result
  }

  /// Writes the elements to the memory of `target`, a view of this shape on the same GPU that nobody
  /// reads yet, in its dtype.
  func castElements(to target: Tensor) throws {
    try launch("tensors/cast", to: target) {
      TensorsCastParameters(
        x: $0, y: $1, layout: $2, x_type: dtype.kernelType, y_type: target.dtype.kernelType)
    }
  }

  /// Launches a kernel that reads each element once, for the element of `target` at the same place.
  private func launch(
    _ kernel: String, definitions: [String] = [], to target: Tensor,
    _ parameters: (_ source: UInt64, _ target: UInt64, TensorsLayout) -> some BitwiseCopyable
  ) throws {
    let layout = try TensorsLayout(shape: shape, strides: [target.strides, strides])
    try withExtendedLifetime((self, target)) {
      try DeviceQueue.shared(for: device).launch(
        kernel, definitions: definitions, blocks: layout.blocks, threads: TensorsLayout.threads,
        parameters(deviceAddress(), target.deviceAddress(), layout))
    }
  }

  /// `yes` where `condition` is true, `no` elsewhere.
  static func selectOnDevice(
    _ condition: Tensor, _ yes: Tensor, _ no: Tensor, _ device: Device
  ) throws -> Tensor {
    let shape = try Shape.broadcasting(condition.shape, .broadcasting(yes.shape, no.shape))
    let flags = try condition.detached().moved(to: device).expanded(to: shape)
    let (a, b) = (try yes.detached().expanded(to: shape), try no.detached().expanded(to: shape))
    let result = try Tensor.onDevice(shape, dtype: yes.dtype, device: device)
    let layout = try TensorsLayout(
      shape: shape, strides: [result.strides, flags.strides, a.strides, b.strides])
    try withExtendedLifetime((flags, a, b)) {
      try DeviceQueue.shared(for: device).launch(
        "tensors/select", blocks: layout.blocks, threads: TensorsLayout.threads,
        TensorsSelectParameters(
          flags: flags.deviceAddress(), a: TensorsOperand(bitsOf: yes),
          b: TensorsOperand(bitsOf: no),
          y: result.deviceAddress(), layout: layout, size: Int32(yes.dtype.size)))
    }
    return result
  }
}

extension Tensor {
  /// A contiguous copy on this tensor's GPU, made by `tensors/copy.cu`.
  func copiedOnDevice() throws -> Tensor {
    let result = try Tensor.onDevice(shape, dtype: dtype, device: device)
    try copyElements(to: result)
    return result
  }

  /// Writes the elements to the memory of `target`, a view of this shape on the same GPU that nobody
  /// reads yet.
  package func copyElements(to target: Tensor) throws {
    try launch("tensors/copy", to: target) {
      TensorsCopyParameters(source: $0, target: $1, layout: $2, size: Int32(dtype.size))
    }
  }
}
