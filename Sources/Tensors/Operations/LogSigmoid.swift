import CPUKernels

extension Tensor {
  /// log(σ(x)) / divisor in one pass: the log-space gate of a decay.
  ///
  /// Float64 stays; everything else gives float32, since rounding a gate to half precision would
  /// change what is remembered over hundreds of tokens.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if this is no floating-point tensor.
  public func logSigmoid(dividedBy divisor: Double) throws -> Tensor {
    guard dtype.isFloatingPoint else {
      throw TensorError.invalidArgument(
        "operand of logSigmoid", was: dtype.rawValue, mustBe: "a floating-point tensor")
    }
    if dtype == .float64 { return try logSigmoid() / divisor }
    let factor = Float(1 / divisor)
    if device != .cpu { return try DeviceGates.logSigmoid(self, factor: factor) }
    return try cast(to: .float32).logSigmoidInFloat32(factor: factor)
  }

  private func logSigmoidInFloat32(factor: Float) throws -> Tensor {
    let x = try detached().contiguous()
    let kernels = InstructionSet.current.kernels
    let count = elementCount
    let result = try Tensor.filling(shape, as: Float.self) { y in
      try x.withUnsafePointer(to: Float.self) { x in
        Threads.forEachRows(count, width: 1) { range in
          let first = range.lowerBound
          kernels.unary_f32(CPU_LOG_SIGMOID, range.count, x + first, y + first)
          kernels.scale(range.count, factor, y + first)
        }
      }
    }
    return result.recorded(from: [self]) { gradient, history in
      if history.isRecorded {
        return [try gradient * (-history.input(0, x)).sigmoid() * Double(factor)]
      }
      let g = try gradient.contiguous()
      return [
        try Tensor.filling(x.shape, as: Float.self) { dx in
          try x.withUnsafePointer(to: Float.self) { x in
            try g.withUnsafePointer(to: Float.self) { g in
              Threads.forEachRows(count, width: 1) { range in
                let first = range.lowerBound
                kernels.log_sigmoid_backward(
                  range.count, x + first, g + first, factor, dx + first)
              }
            }
          }
        }
      ]
    }
  }
}
