import AttentionCPUKernels

extension Tensor {
  /// Applies `operation` to each element of a float32 or float64 tensor.
  private func mapped(_ operation: cpu_unary) throws -> Tensor {
    if device != .cpu { return try mappedOnDevice(operation) }
    let kernels = InstructionSet.current.kernels
    let source = try contiguous()
    return try Tensor.filling(shape, dtype: dtype) { target in
      try source.withUnsafeRawPointer { base in
        Threads.forEachRows(elementCount, width: 1) { block in
          let start = block.lowerBound
          if dtype == .float32 {
            kernels.unary_f32(
              operation, block.count, base.assumingMemoryBound(to: Float.self) + start,
              target.assumingMemoryBound(to: Float.self) + start)
          } else {
            kernels.unary_f64(
              operation, block.count, base.assumingMemoryBound(to: Double.self) + start,
              target.assumingMemoryBound(to: Double.self) + start)
          }
        }
      }
    }
  }

  /// How the gradient of x follows from g, the gradient of y, and what else it needs: that tensor is kept on
  /// the tape.
  enum Derivative {
    case constant(@Sendable (_ g: Tensor) throws -> Tensor)
    case ofInput(@Sendable (_ g: Tensor, _ x: Tensor) throws -> Tensor)
    case ofOutput(@Sendable (_ g: Tensor, _ y: Tensor) throws -> Tensor)
  }

  /// Applies `operation`, with its derivative made of recorded operations. On the CPU half precision is
  /// computed in float32, forward and backward; GPU kernels do so themselves.
  func differentiable(
    _ name: String, _ operation: cpu_unary, _ derivative: Derivative
  ) throws -> Tensor {
    try requireFloatingPoint(name)
    if dtype.isHalfPrecision, device == .cpu || isTracked {
      return try cast(to: .float32).differentiable(name, operation, derivative).cast(to: dtype)
    }
    let x = detached()
    let y = try x.mapped(operation)
    switch derivative {
    case .constant(let pullback): return y.recorded(from: [self]) { g, _ in [try pullback(g)] }
    case .ofInput(let pullback):
      return y.recorded(from: [self]) { g, history in [try pullback(g, history.input(0, x))] }
    case .ofOutput(let pullback):
      return y.recorded(from: [self]) { g, history in [try pullback(g, history.output(y))] }
    }
  }

  func requireFloatingPoint(_ operation: String) throws {
    guard dtype.isFloatingPoint else {
      throw TensorError.invalidArgument(
        "operand of \(operation)", was: dtype.rawValue, mustBe: "a floating-point tensor")
    }
  }

  public static prefix func - (operand: Tensor) throws -> Tensor {
    try operand.differentiable("-", CPU_NEGATE, .constant { g in try -g })
  }
  /// |x|; the derivative at 0 is 0.
  public func absolute() throws -> Tensor {
    try differentiable(
      "absolute", CPU_ABSOLUTE,
      .ofInput { g, x in
        let zero = try Tensor.zeros([], dtype: g.dtype)
        let negative = try Tensor.select(zero.isGreater(than: x), -g, zero)
        return try .select(x.isGreater(than: zero), g, negative)
      })
  }
  /// x²
  public func squared() throws -> Tensor {
    try differentiable("squared", CPU_SQUARE, .ofInput { g, x in try g * x * 2 })
  }
  /// √x; the derivative at 0 is infinite.
  public func squareRoot() throws -> Tensor {
    try differentiable("squareRoot", CPU_SQRT, .ofOutput { g, y in try g / (y * 2) })
  }
  /// 1/√x
  public func reciprocalSquareRoot() throws -> Tensor {
    try differentiable(
      "reciprocalSquareRoot", CPU_RSQRT, .ofOutput { g, y in try g * y.squared() * y * -0.5 })
  }
  /// 1/x
  public func reciprocal() throws -> Tensor {
    try differentiable(
      "reciprocal", CPU_RECIPROCAL, .ofOutput { g, y in try -(g * y.squared()) })
  }
  /// eˣ
  public func exponential() throws -> Tensor {
    try differentiable("exponential", CPU_EXP, .ofOutput { g, y in try g * y })
  }
  /// eˣ − 1 without cancellation near 0.
  public func exponentialMinusOne() throws -> Tensor {
    // The derivative is not y + 1: y rounds to −1 where eˣ is small.
    try differentiable(
      "exponentialMinusOne", CPU_EXPM1, .ofInput { g, x in try g * x.exponential() })
  }
  /// The natural logarithm: −∞ at 0, NaN below.
  public func logarithm() throws -> Tensor {
    try differentiable("logarithm", CPU_LOG, .ofInput { g, x in try g / x })
  }
  /// log(1 + x), accurate near 0: −∞ at −1, NaN below.
  public func logarithmOfOnePlus() throws -> Tensor {
    try differentiable(
      "logarithmOfOnePlus", CPU_LOG1P, .ofInput { g, x in try g / (x + 1.0) })
  }
  /// The hyperbolic tangent.
  public func tanh() throws -> Tensor {
    try differentiable("tanh", CPU_TANH, .ofOutput { g, y in try g - g * y.squared() })
  }
  /// 1/(1+e⁻ˣ)
  public func sigmoid() throws -> Tensor {
    try differentiable("sigmoid", CPU_SIGMOID, .ofOutput { g, y in try g * (y - y.squared()) })
  }
  /// log(1/(1+e⁻ˣ)), accurate for large |x|.
  public func logSigmoid() throws -> Tensor {
    try differentiable(
      "logSigmoid", CPU_LOG_SIGMOID, .ofInput { g, x in try g * (-x).sigmoid() })
  }
  /// max(x, 0); the derivative at 0 is 0.
  public func relu() throws -> Tensor {
    try differentiable(
      "relu", CPU_RELU,
      .ofInput { g, x in
        let zero = try Tensor.zeros([], dtype: g.dtype)
        return try .select(x.isGreater(than: zero), g, zero)
      })
  }
  /// x/(1+e⁻ˣ), also called swish. NaN at −∞.
  public func silu() throws -> Tensor {
    try differentiable("silu", CPU_SILU, .ofInput { g, x in try x.siluGradient(g) })
  }

  /// `gradient` times the derivative of ``silu()`` at this tensor: by a fused kernel if there is one and
  /// nothing is recorded.
  private func siluGradient(_ gradient: Tensor) throws -> Tensor {
    if isTracked || gradient.isTracked || (device == .cpu && dtype == .float64) {
      // σ(x)·(1 + x·(1 − σ(x))) = σ(x) + y·(1 − σ(x))
      let s = try sigmoid()
      let y = try self * s
      return try gradient * (s + y - y * s)
    }
    if device != .cpu { return try .combineOnDevice(.siluGradient, self, gradient, dtype, device) }
    return try fusedSiluGradient(gradient)
  }

  private func fusedSiluGradient(_ gradient: Tensor) throws -> Tensor {
    let kernels = InstructionSet.current.kernels
    let (source, gradient) = (try contiguous(), try gradient.contiguous())
    return try Tensor.filling(shape, as: Float.self) { dx in
      try source.withUnsafePointer(to: Float.self) { x in
        try gradient.withUnsafePointer(to: Float.self) { g in
          Threads.forEachRows(elementCount, width: 1) { block in
            let start = block.lowerBound
            kernels.silu_backward(block.count, x + start, g + start, dx + start)
          }
        }
      }
    }
  }
}

extension Tensor {
  /// 1 − erf(x) = 2/√π ∫ₓ^∞ e^(−t²) dt, accurate even where it is small.
  public func complementaryErrorFunction() throws -> Tensor {
    try differentiable(
      "complementaryErrorFunction", CPU_ERFC,
      .ofInput { g, x in try g * (-x.squared()).exponential() * (-2 / Double.pi.squareRoot()) })
  }

  /// x·Φ(x), with Φ the cumulative distribution function of the normal distribution, erfc(−x/√2) / 2.
  ///
  /// Half precision is computed in float32. NaN at −∞.
  ///
  /// Reference: Hendrycks, Gimpel, *Gaussian error linear units* (2016).
  ///
  /// - Parameter usesTanh: whether Φ(x) is approximated by (1 + tanh(√(2/π)·(x + 0.044715·x³))) / 2, as in
  ///   GPT-2; the result differs by at most 5·10⁻⁴.
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if this is not a floating-point tensor.
  public func gelu(usesTanh: Bool = false) throws -> Tensor {
    if dtype.isHalfPrecision {
      return try cast(to: .float32).gelu(usesTanh: usesTanh).cast(to: dtype)
    }
    guard usesTanh else {
      return try self * 0.5 * (self * -(0.5.squareRoot())).complementaryErrorFunction()
    }
    let cubic = 0.044715
    let inner = try (squared() * self * cubic + self) * (2 / Double.pi).squareRoot()
    return try self * 0.5 * (inner.tanh() + 1)
  }
}
