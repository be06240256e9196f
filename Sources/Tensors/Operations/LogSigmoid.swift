import AttentionCPUKernels

extension Tensor {
  /// log(σ(x)) / divisor in one pass: the log-space gate of a decay.
  ///
  /// float64 stays float64; every other dtype gives float32, since rounding a gate to half precision would
  /// change the decay over hundreds of tokens.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if this is not a floating-point tensor.
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

  /// log(γ + (1 − γ) σ(x)): the logarithm of a gate that is bounded from below.
  ///
  /// Accurate to a few roundings for every x, however saturated the sigmoid is, and for γ from 0 to 1. The
  /// derivative with respect to the bound is 0 where the gate itself is not a normal number, as may happen
  /// for γ = 0.
  ///
  /// - Parameter bound: γ, broadcast with this tensor and of its dtype, float32 or float64.
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if dtypes or shapes do not match.
  public func logSigmoid(boundedBy bound: Tensor) throws -> Tensor {
    guard [.float32, .float64].contains(dtype), bound.dtype == dtype else {
      throw TensorError.invalidArgument(
        "operands of logSigmoid", was: "\(dtype.rawValue) and \(bound.dtype.rawValue)",
        mustBe: "both float32 or both float64")
    }
    let (x, y) = (detached(), bound.detached())
    let (shape, boundShape) = (self.shape, bound.shape)
    let (device, boundDevice) = (self.device, bound.device)
    return try x.boundedLogSigmoid(y).recorded(from: [self, bound]) { g, history in
      let (x, y) = try (history.input(0, x), history.input(1, y))
      func number(_ value: Double) throws -> Tensor { try .full([], value, dtype: g.dtype) }
      let (open, closed) = (try x.sigmoid(), try (-x).sigmoid())
      let range = try -y + 1.0
      let gate = try range * open + y
      let least = g.dtype == .float32 ? Double(Float.leastNormalMagnitude) : .leastNormalMagnitude
      let isNormal = try gate.isGreater(than: number(least))
      let safe = try Tensor.select(isNormal, gate, number(1))
      // Below the normal numbers the bound is negligible: the sigmoid is the whole gate.
      let share = try Tensor.select(isNormal, range * open / safe, number(1))
      return [
        try (g * closed * share).summed(to: shape).moved(to: device),
        try Tensor.select(isNormal, g * closed / safe, number(0)).summed(to: boundShape)
          .moved(to: boundDevice),
      ]
    }
  }

  /// The same for detached tensors.
  private func boundedLogSigmoid(_ bound: Tensor) throws -> Tensor {
    func number(_ value: Double) throws -> Tensor { try .full([], value, dtype: dtype) }
    // Near 1 from its distance to 1, elsewhere from the logarithms of its two terms: each is accurate there.
    // Logarithms are kept finite, because the difference of two infinite ones would be NaN.
    let lowest =
      dtype == .float32 ? -Double(Float.greatestFiniteMagnitude) : -.greatestFiniteMagnitude
    let least = try bound.logarithm()
    let above = try ((-bound).logarithmOfOnePlus() + logSigmoid()).clamped(to: lowest...)
    let parts =
      try least.maximum(above) + (-(least - above).absolute()).exponential().logarithmOfOnePlus()
    let missing = try (-self).sigmoid() * (-bound + 1.0)
    let isNearOne = try number(0.5).isGreater(than: missing)
    return try .select(isNearOne, (-missing.minimum(number(0.5))).logarithmOfOnePlus(), parts)
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
