import AttentionTensors

extension Tensor {
  /// These numbers in float32, or as they are in float64: rounding a gate to half precision would
  /// change what is remembered over hundreds of tokens.
  func inGatePrecision() throws -> Tensor {
    try dtype.isHalfPrecision ? cast(to: .float32) : self
  }

  /// The numbers of a float32 or float64 tensor, infinite ones as the largest finite ones of their sign: so that
  /// a rate without end, of no time, does nothing.
  func finite() throws -> Tensor {
    let largest =
      dtype == .float64 ? Double.greatestFiniteMagnitude : Double(Float.greatestFiniteMagnitude)
    return try clamped(to: -largest...largest)
  }

  /// −x
  func negated() throws -> Tensor { try self * -1.0 }
}
