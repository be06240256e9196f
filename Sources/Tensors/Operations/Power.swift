import AttentionCPUKernels

extension Tensor {
  /// Each element to the power of its partner: x^y, of two floating-point tensors that broadcast to one
  /// shape. x⁰ is 1 also where x is 0 or NaN; a negative number to a power that is not whole is NaN.
  ///
  /// The derivative by the exponent, x^y·log x, is 0 where x is 0.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if shapes or dtypes do not fit, or dtypes are
  ///   not floating-point.
  public func power(_ exponent: Tensor) throws -> Tensor {
    try requireFloatingPoint("power")
    let (x, y) = (detached(), exponent.detached())
    return try Tensor.differentiable(
      "power", CPU_POWER, self, exponent,
      { g, history in
        let (x, y) = (history.input(0, x), history.input(1, y))
        let slope = try y * x.power(y - 1)
        // 0 · 0⁻¹ would be NaN.
        let zero = try Tensor.zeros([], dtype: y.dtype)
        return try g * .select(y.isEqual(to: zero), zero, slope)
      },
      { g, history in
        let (x, y) = (history.input(0, x), history.input(1, y))
        let zero = try Tensor.zeros([], dtype: x.dtype)
        // The logarithm of 1 is 0, and so are its derivatives' products with 0.
        let base = try Tensor.select(x.isEqual(to: zero), .ones([], dtype: x.dtype), x)
        return try g * x.power(y) * base.logarithm()
      })
  }

  /// Each element to the power `exponent`, a number that half precision does not round.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if this is no floating-point tensor.
  public func power(_ exponent: Double) throws -> Tensor {
    try requireFloatingPoint("power")
    if dtype.isHalfPrecision { return try cast(to: .float32).power(exponent).cast(to: dtype) }
    return try power(.full([], exponent, dtype: dtype))
  }

  /// The elements, those below `limits` as its lower bound and those above as its upper. NaN stays. The
  /// gradient of what is moved is 0, that of the bounds themselves 1.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if the tensor is of integers and a bound is
  ///   none, or the tensor is bool.
  public func clamped(to limits: ClosedRange<Double>) throws -> Tensor {
    try clamped(to: limits.lowerBound...).clamped(to: ...limits.upperBound)
  }

  /// The elements, those below the bound as the bound.
  public func clamped(to limits: PartialRangeFrom<Double>) throws -> Tensor {
    try maximum(bound(limits.lowerBound))
  }

  /// The elements, those above the bound as the bound.
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
