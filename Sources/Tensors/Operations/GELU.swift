import AttentionCPUKernels

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
