import AttentionCPUKernels

extension Tensor {
  /// silu(gate) · up = gate / (1 + e^−gate) · up, element by element, of two tensors of one shape.
  ///
  /// Reference: Shazeer, *GLU variants improve transformer* (2020).
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if shapes, dtypes or devices differ.
  public static func swiglu(_ gate: Tensor, _ up: Tensor) throws -> Tensor {
    guard gate.shape == up.shape, gate.dtype == up.dtype, gate.dtype.isFloatingPoint else {
      throw TensorError.invalidArgument(
        "operands of swiglu", was: "\(gate.summary) and \(up.summary)",
        mustBe: "floating-point tensors of one shape and dtype")
    }
    switch gate.dtype {
    case .float64: return try plainSwiGLU(gate, up)
    case _ where gate.device != .cpu: return try DeviceGates.swiglu(gate, up)
    case .float32: return try fusedSwiGLU(gate, up)
    default:
      return try swiglu(gate.cast(to: .float32), up.cast(to: .float32)).cast(to: gate.dtype)
    }
  }

  /// The definition by elementary operations; half precision is computed in float32.
  static func plainSwiGLU(_ gate: Tensor, _ up: Tensor) throws -> Tensor {
    guard gate.dtype.isHalfPrecision else { return try gate.silu() * up }
    return try plainSwiGLU(gate.cast(to: .float32), up.cast(to: .float32)).cast(to: gate.dtype)
  }

  private static func fusedSwiGLU(_ gate: Tensor, _ up: Tensor) throws -> Tensor {
    let (a, b) = (try gate.detached().contiguous(), try up.detached().contiguous())
    let shape = gate.shape
    let result = try Tensor.filling(shape, as: Float.self) { y in
      try a.withUnsafePointer(to: Float.self) { a in
        try b.withUnsafePointer(to: Float.self) { b in
          let kernels = InstructionSet.current.kernels
          Threads.forEachRows(shape.elementCount, width: 1) { block in
            let first = block.lowerBound
            kernels.swiglu(block.count, a + first, b + first, y + first)
          }
        }
      }
    }
    return result.recorded(from: [gate, up]) { gradient, history in
      if history.isRecorded {
        return try history.gradients(at: [a, b], seed: gradient) { try plainSwiGLU($0[0], $0[1]) }
      }
      let gradient = try gradient.contiguous()
      var gateGradient: Tensor?
      let upGradient = try Tensor.filling(shape, as: Float.self) { db in
        gateGradient = try Tensor.filling(shape, as: Float.self) { da in
          try a.withUnsafePointer(to: Float.self) { a in
            try b.withUnsafePointer(to: Float.self) { b in
              try gradient.withUnsafePointer(to: Float.self) { g in
                let kernels = InstructionSet.current.kernels
                Threads.forEachRows(shape.elementCount, width: 1) { block in
                  let i = block.lowerBound
                  kernels.swiglu_backward(block.count, a + i, b + i, g + i, da + i, db + i)
                }
              }
            }
          }
        }
      }
      return [gateGradient, upGradient]
    }
  }
}
