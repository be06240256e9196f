import AttentionCUDA
import AttentionCUDAKernels

/// The gates of layers on a device, element by element.
struct DeviceGates {
  private static let threads = 256

  /// What a launch reads and writes, as `LayersGatesParameters` names it: tensors on a device, contiguous.
  private struct Operands {
    var a: Tensor
    var b: Tensor?
    var gradient: Tensor?
    var first: Tensor?
    var second: Tensor?
    var wide: Tensor?
    var factor: Float = 1
  }

  private static func launch(_ operation: Int, _ operands: Operands) throws {
    let a = operands.a
    guard a.elementCount > 0 else { return }
    let parameters = LayersGatesParameters(
      a: try a.deviceAddress(), b: try operands.b?.deviceAddress() ?? 0,
      gradient: try operands.gradient?.deviceAddress() ?? 0,
      first: try operands.first?.deviceAddress() ?? 0,
      second: try operands.second?.deviceAddress() ?? 0,
      wide: try operands.wide?.deviceAddress() ?? 0, count: Int64(a.elementCount),
      operation: Int32(operation), factor: operands.factor)
    try withExtendedLifetime(operands) {
      try DeviceQueue.shared(for: a.device).launch(
        "layers/gates", element: a.dtype,
        blocks: a.elementCount.pieces(of: threads * group_size), threads: threads, parameters)
    }
  }

  private static func like(_ tensor: Tensor, dtype: DType? = nil) throws -> Tensor {
    try .onDevice(tensor.shape, dtype: dtype ?? tensor.dtype, device: tensor.device)
  }

  /// ``Tensor/swiglu(_:_:)`` of float32 or half precision.
  static func swiglu(_ gate: Tensor, _ up: Tensor) throws -> Tensor {
    let (a, b) = (try gate.detached().contiguous(), try up.detached().contiguous())
    let result = try like(a)
    try launch(gates_swiglu, Operands(a: a, b: b, first: result))
    return result.recorded(from: [gate, up]) { gradient, history in
      if history.isRecorded {
        return try history.gradients(at: [a, b], seed: gradient) {
          try Tensor.plainSwiGLU($0[0], $0[1])
        }
      }
      let (first, second) = (try like(a), try like(a))
      let gradient = try gradient.contiguous()
      try launch(
        gates_swiglu_backward,
        Operands(a: a, b: b, gradient: gradient, first: first, second: second))
      return [first, second]
    }
  }

  /// ``Tensor/logSigmoid(dividedBy:)`` of float32 or half precision: float32.
  static func logSigmoid(_ x: Tensor, factor: Float) throws -> Tensor {
    let a = try x.detached().contiguous()
    let result = try like(a, dtype: .float32)
    try launch(gates_log_sigmoid, Operands(a: a, wide: result, factor: factor))
    return result.recorded(from: [x]) { gradient, history in
      if history.isRecorded {
        return try history.gradients(at: [a], seed: gradient) {
          try $0[0].cast(to: .float32).logSigmoid() * Double(factor)
        }
      }
      let first = try like(a)
      let gradient = try gradient.contiguous()
      try launch(
        gates_log_sigmoid_backward, Operands(a: a, first: first, wide: gradient, factor: factor))
      return [first]
    }
  }
}
