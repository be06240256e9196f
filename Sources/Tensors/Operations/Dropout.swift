extension Tensor {
  /// Sets each element to 0 with probability p and divides the others by 1 − p, which keeps the expectation.
  ///
  /// Whether the n-th element is kept depends on the n-th number of the stream, in row-major order: the
  /// same elements on every device.
  ///
  /// Reference: Srivastava et al., *Dropout: a simple way to prevent neural networks from overfitting*
  /// (2014).
  ///
  /// - Parameters:
  ///   - probability: `p`, from 0 to 1.
  ///   - generator: the stream, advanced by one number per element.
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if the probability is not in 0...1, or this is
  ///   not a floating-point tensor.
  public func dropout(_ probability: Double, using generator: inout Philox) throws -> Tensor {
    try requireFloatingPoint("dropout")
    guard 0...1 ~= probability else {
      throw TensorError.invalidArgument(
        "probability", was: "\(probability)", mustBe: "in 0...1")
    }
    guard probability > 0, probability < 1 else {
      generator.skip(elementCount)
      return probability == 0
        ? self : try .select(.zeros([], dtype: .bool), self, .zeros([], dtype: dtype))
    }
    let bits = try Tensor.randomBits(shape, using: &generator, device: device)
    // A fraction p of the 2⁶⁴ numbers from −2⁶³ on are at most this one.
    let threshold = try Tensor([Int64(probability * 0x1p64 - 0x1p63)], [])
    return try .select(
      bits.isGreater(than: threshold), self * (1 / (1 - probability)), .zeros([], dtype: dtype))
  }
}
