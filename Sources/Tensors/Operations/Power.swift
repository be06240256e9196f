import AttentionCPUKernels

extension Tensor {
  /// x^y element by element, for two floating-point tensors that broadcast to a common shape. x⁰ is 1 even
  /// if x is 0 or NaN; a negative number to a fractional power is NaN.
  ///
  /// The derivative with respect to the exponent, x^y·log x, is 0 where x is 0.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if shapes or dtypes do not match, or dtypes
  ///   are not floating-point.
  public func power(_ exponent: Tensor) throws -> Tensor {
    try requireFloatingPoint("power")
    let (x, y) = (detached(), exponent.detached())
    return try Tensor.differentiable(
      "power", CPU_POWER, self, exponent,
      { g, history in
        let (x, y) = try (history.input(0, x), history.input(1, y))
        let derivative = try y * x.power(y - 1)
        // 0 · 0⁻¹ would be NaN.
        let zero = try Tensor.zeros([], dtype: y.dtype)
        return try g * .select(y.isEqual(to: zero), zero, derivative)
      },
      { g, history in
        let (x, y) = try (history.input(0, x), history.input(1, y))
        let zero = try Tensor.zeros([], dtype: x.dtype)
        // With the logarithm of 1 in place of that of 0, the derivatives stay finite.
        let base = try Tensor.select(x.isEqual(to: zero), .ones([], dtype: x.dtype), x)
        return try g * x.power(y) * base.logarithm()
      })
  }

  /// x^`exponent` element by element. The exponent is not rounded to half precision.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if this is not a floating-point tensor.
  public func power(_ exponent: Double) throws -> Tensor {
    try requireFloatingPoint("power")
    if dtype.isHalfPrecision { return try cast(to: .float32).power(exponent).cast(to: dtype) }
    return try power(.full([], exponent, dtype: dtype))
  }

  /// The elements clamped to `limits`. NaN stays NaN. The gradient is 0 for clamped elements and 1 at the
  /// bounds themselves.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if the tensor has integers and a bound is not
  ///   an integer, or the tensor is bool.
  public func clamped(to limits: ClosedRange<Double>) throws -> Tensor {
    try clamped(to: limits.lowerBound...).clamped(to: ...limits.upperBound)
  }

  /// The elements, those below the bound replaced by it.
  public func clamped(to limits: PartialRangeFrom<Double>) throws -> Tensor {
    try maximum(bound(limits.lowerBound))
  }

  /// The elements, those above the bound replaced by it.
  public func clamped(to limits: PartialRangeThrough<Double>) throws -> Tensor {
    try minimum(bound(limits.upperBound))
  }

  private func bound(_ number: Double) throws -> Tensor {
    guard dtype.isFloatingPoint || Int64(exactly: number) != nil else {
      throw TensorError.invalidArgument(
        "limit", was: "\(number)", mustBe: "whole, as the tensor is \(dtype.rawValue)")
    }
    return try .full([], number, dtype: dtype)
  }
}
