import AttentionCUDAKernels

extension Tensor {
  /// The device that an operation on `operands` runs on: the one they all are on. A CPU tensor of one
  /// element may accompany GPU tensors; it is passed as a number.
  ///
  /// - Parameters:
  ///   - operands: the operation's inputs.
  ///   - operation: its name, for the error.
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if the operands are on several devices.
  public static func device(of operands: [Tensor], _ operation: String) throws -> Device {
    let deciding = operands.filter { $0.device != .cpu || $0.elementCount != 1 }
    let devices = Set(deciding.map(\.device))
    guard devices.count <= 1 else {
      throw TensorError.invalidArgument(
        "operands of \(operation)",
        was: "on \(devices.map(\.description).sorted().joined(separator: " and "))",
        mustBe: "on one device, but for numbers; moved(to:) copies them")
    }
    return devices.first ?? .cpu
  }
}

extension TensorsOperand {
  /// Elements on the GPU, or the one number that the processor has: a Double where the dtype is of real
  /// numbers, otherwise an Int64.
  init(_ tensor: Tensor) throws {
    self.init()
    if tensor.device != .cpu {
      base = try tensor.deviceAddress()
    } else if tensor.dtype.isFloatingPoint {
      bits = Int64(bitPattern: try tensor.item().bitPattern)
    } else {
      bits = try tensor.elements(as: Int64.self)[0]
    }
  }

  /// The same for kernels that copy elements as bits.
  init(bitsOf tensor: Tensor) throws {
    self.init()
    if tensor.device != .cpu {
      base = try tensor.deviceAddress()
    } else {
      try tensor.withUnsafeRawPointer { source in
        withUnsafeMutableBytes(of: &bits) {
          $0.copyMemory(from: UnsafeRawBufferPointer(start: source, count: tensor.dtype.size))
        }
      }
    }
  }
}

extension DType {
  /// The type in which the kernels of `tensors` compute, as the macro `NUMBER`.
  var kernelNumber: String {
    switch self {
    case .float32, .bfloat16, .float16: "NUMBER=float"
    case .float64: "NUMBER=double"
    case .int32: "NUMBER=int"
    case .int64: "NUMBER=i64"
    case .bool: "NUMBER=u8"
    }
  }
}
