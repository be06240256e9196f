import Tensors

extension Tensor {
  /// These numbers in float32, or as they are in float64: rounding a gate to half precision would
  /// change what is remembered over hundreds of tokens.
  func inGatePrecision() throws -> Tensor {
    try dtype.isHalfPrecision ? cast(to: .float32) : self
  }

  /// −x
  func negated() throws -> Tensor { try self * -1.0 }
}
