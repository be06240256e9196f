extension Tensor {
  /// (x − mean(x)) / √(variance(x) + ε) · weight + bias over the last axis, with the variance of the
  /// population (divided by n): [..., n], weight and bias [n] → [..., n].
  ///
  /// Half precision is computed in float32; its weight and bias may be float32 or of the same dtype.
  ///
  /// Reference: Ba, Kiros, Hinton, *Layer normalization* (2016).
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if a shape or dtype is wrong, or `epsilon` is
  ///   not positive.
  public func layerNorm(
    weight: Tensor? = nil, bias: Tensor? = nil, epsilon: Double = 1e-5
  ) throws -> Tensor {
    try requireRows("layerNorm", epsilon)
    if let weight { try requireRowParameter("weight", weight) }
    if let bias { try requireRowParameter("bias", bias) }
    // Rows of no elements are not iterated over, however many there are.
    if shape[rank - 1] == 0 { return self }
    if dtype.isHalfPrecision {
      return try cast(to: .float32).layerNorm(
        weight: weight?.cast(to: .float32), bias: bias?.cast(to: .float32), epsilon: epsilon
      ).cast(to: dtype)
    }
    let centred = try self - mean([-1], keepsAxes: true)
    let variance = try centred.squared().mean([-1], keepsAxes: true)
    var result = try centred * (variance + epsilon).reciprocalSquareRoot()
    if let weight { result = try result * weight }
    if let bias { result = try result + bias }
    return result
  }
}
