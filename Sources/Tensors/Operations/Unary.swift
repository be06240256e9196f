import CPUKernels

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

  /// `operation` with its derivative: from the input x and the output y, what turns the gradient of
  /// y into that of x. It is kept with the tape, so it should capture only what it needs. Half
  /// precision goes by way of float32, forward and back; kernels of a GPU do so by themselves.
  private func differentiable(
    _ name: String, _ operation: cpu_unary,
    _ derivative: (_ x: Tensor, _ y: Tensor) -> @Sendable (_ g: Tensor) throws -> Tensor
  ) throws -> Tensor {
    guard dtype.isFloatingPoint else {
      throw TensorError.invalidArgument(
        "operand of \(name)", was: dtype.rawValue, mustBe: "a floating-point tensor")
    }
    if dtype.isHalfPrecision, device == .cpu || isTracked {
      return try cast(to: .float32).differentiable(name, operation, derivative).cast(to: dtype)
    }
    let x = detached()
    let y = try x.mapped(operation)
    guard isTracked else { return y }
    let pullback = derivative(x, y)
    return y.recorded(from: [self]) { [try pullback($0)] }
  }

  public static prefix func - (operand: Tensor) throws -> Tensor {
    try operand.differentiable("-", CPU_NEGATE) { _, _ in { g in try -g } }
  }
  /// |x|; the derivative at 0 is 0.
  public func absolute() throws -> Tensor {
    try differentiable("absolute", CPU_ABSOLUTE) { x, _ in
      { g in
        let zero = try Tensor.zeros([], dtype: g.dtype)
        let negative = try Tensor.select(zero.isGreater(than: x), -g, zero)
        return try .select(x.isGreater(than: zero), g, negative)
      }
    }
  }
  /// x²
  public func squared() throws -> Tensor {
    try differentiable("squared", CPU_SQUARE) { x, _ in { g in try g * x * 2 } }
  }
  /// √x; the derivative at 0 is infinite.
  public func squareRoot() throws -> Tensor {
    try differentiable("squareRoot", CPU_SQRT) { _, y in { g in try g / (y * 2) } }
  }
  /// 1/√x
  public func reciprocalSquareRoot() throws -> Tensor {
    try differentiable("reciprocalSquareRoot", CPU_RSQRT) { _, y in
      { g in try g * y.squared() * y * -0.5 }
    }
  }
  /// 1/x
  public func reciprocal() throws -> Tensor {
    try differentiable("reciprocal", CPU_RECIPROCAL) { _, y in { g in try -(g * y.squared()) } }
  }
  /// eˣ
  public func exponential() throws -> Tensor {
    try differentiable("exponential", CPU_EXP) { _, y in { g in try g * y } }
  }
  /// The natural logarithm: −∞ at 0, NaN below.
  public func logarithm() throws -> Tensor {
    try differentiable("logarithm", CPU_LOG) { x, _ in { g in try g / x } }
  }
  /// The hyperbolic tangent.
  public func tanh() throws -> Tensor {
    try differentiable("tanh", CPU_TANH) { _, y in { g in try g - g * y.squared() } }
  }
  /// 1/(1+e⁻ˣ)
  public func sigmoid() throws -> Tensor {
    try differentiable("sigmoid", CPU_SIGMOID) { _, y in { g in try g * (y - y.squared()) } }
  }
  /// log(1/(1+e⁻ˣ)), accurate for large |x|.
  public func logSigmoid() throws -> Tensor {
    try differentiable("logSigmoid", CPU_LOG_SIGMOID) { x, _ in { g in try g * (-x).sigmoid() } }
  }
  /// max(x, 0); the derivative at 0 is 0.
  public func relu() throws -> Tensor {
    try differentiable("relu", CPU_RELU) { x, _ in
      { g in
        let zero = try Tensor.zeros([], dtype: g.dtype)
        return try .select(x.isGreater(than: zero), g, zero)
      }
    }
  }
  /// x/(1+e⁻ˣ), also called swish. NaN at −∞.
  public func silu() throws -> Tensor {
    try differentiable("silu", CPU_SILU) { x, y in
      { g in
        if x.device != .cpu {
          return try .combineOnDevice(.siluGradient, x, g, x.dtype, x.device)
        }
        if x.dtype == .float32 { return try x.siluGradient(g) }
        // σ(x)·(1 + x·(1 − σ(x))) = σ(x) + y·(1 − σ(x))
        let s = try x.sigmoid()
        return try g * (s + y - y * s)
      }
    }
  }

  /// `gradient` times the derivative of ``silu()`` at this float32 tensor.
  private func siluGradient(_ gradient: Tensor) throws -> Tensor {
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
