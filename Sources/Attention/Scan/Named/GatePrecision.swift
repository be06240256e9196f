import AttentionTensors

extension Tensor {
  /// This tensor in float32, or unchanged in float64: a gate rounded to half precision would change the
  /// decay over hundreds of tokens.
  func inGatePrecision() throws -> Tensor {
    try dtype.isHalfPrecision ? cast(to: .float32) : self
  }

  /// A float32 or float64 tensor with infinities replaced by the largest finite number of their sign, so that
  /// an infinite rate times a gate of 0 is 0, not NaN.
  func finite() throws -> Tensor {
    let largest =
      dtype == .float64 ? Double.greatestFiniteMagnitude : Double(Float.greatestFiniteMagnitude)
    return try clamped(to: -largest...largest)
  }

  /// −x
  func negated() throws -> Tensor { try self * -1.0 }
}
