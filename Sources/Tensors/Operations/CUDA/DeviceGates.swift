import AttentionCUDA

/// The gates of layers on a device, element by element.
struct DeviceGates {
  private enum Operation: Int32 { case swiglu, swigluBackward, logSigmoid, logSigmoidBackward }

  private static let threads = 256
  /// A thread's, as in `tile/numbers.cuh`.
  private static let groupSize = 4

  /// What a launch reads and writes, as `Parameters` in `layers/gates.cu` names it: tensors on a device,
  /// contiguous.
  private struct Operands {
    var a: Tensor
    var b: Tensor?
    var gradient: Tensor?
    var first: Tensor?
    var second: Tensor?
    var wide: Tensor?
    var factor: Float = 1
  }

  private static func launch(_ operation: Operation, _ operands: Operands) throws {
    let a = operands.a
    guard a.elementCount > 0 else { return }
    let parameters = Parameters(
      a: try a.deviceAddress(), b: try operands.b?.deviceAddress() ?? 0,
      gradient: try operands.gradient?.deviceAddress() ?? 0,
      first: try operands.first?.deviceAddress() ?? 0,
      second: try operands.second?.deviceAddress() ?? 0,
      wide: try operands.wide?.deviceAddress() ?? 0, count: Int64(a.elementCount),
      operation: operation.rawValue, factor: operands.factor)
    let blockElements = threads * groupSize
    try withExtendedLifetime(operands) {
      try DeviceQueue.shared(for: a.device).launch(
        "layers/gates", element: a.dtype,
        blocks: (a.elementCount + blockElements - 1) / blockElements, threads: threads, parameters)
    }
  }

  private static func like(_ tensor: Tensor, dtype: DType? = nil) throws -> Tensor {
    try .onDevice(tensor.shape, dtype: dtype ?? tensor.dtype, device: tensor.device)
  }

  /// ``Tensor/swiglu(_:_:)`` of float32 or half precision.
  static func swiglu(_ gate: Tensor, _ up: Tensor) throws -> Tensor {
    let (a, b) = (try gate.detached().contiguous(), try up.detached().contiguous())
    let result = try like(a)
    try launch(.swiglu, Operands(a: a, b: b, first: result))
    return result.recorded(from: [gate, up]) { gradient, history in
      if history.isRecorded {
        return try history.gradients(at: [a, b], seed: gradient) {
          try Tensor.plainSwiGLU($0[0], $0[1])
        }
      }
      let (first, second) = (try like(a), try like(a))
      let gradient = try gradient.contiguous()
      try launch(
        .swigluBackward, Operands(a: a, b: b, gradient: gradient, first: first, second: second))
      return [first, second]
    }
  }

  /// ``Tensor/logSigmoid(dividedBy:)`` of float32 or half precision: float32.
  static func logSigmoid(_ x: Tensor, factor: Float) throws -> Tensor {
    let a = try x.detached().contiguous()
    let result = try like(a, dtype: .float32)
    try launch(.logSigmoid, Operands(a: a, wide: result, factor: factor))
    return result.recorded(from: [x]) { gradient, history in
      if history.isRecorded {
        return try history.gradients(at: [a], seed: gradient) {
          try $0[0].cast(to: .float32).logSigmoid() * Double(factor)
        }
      }
      let first = try like(a)
      let gradient = try gradient.contiguous()
      try launch(
        .logSigmoidBackward, Operands(a: a, first: first, wide: gradient, factor: factor))
      return [first]
    }
  }

  /// As in `layers/gates.cu`.
  private struct Parameters: BitwiseCopyable {
    var a: UInt64
    var b: UInt64
    var gradient: UInt64
    var first: UInt64
    var second: UInt64
    var wide: UInt64
    var count: Int64
    var operation: Int32
    var factor: Float
  }
}
