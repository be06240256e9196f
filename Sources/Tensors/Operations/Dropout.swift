extension Tensor {
  /// The elements divided by 1 − p, each one 0 with the probability p instead: the expected values stay.
  ///
  /// The n-th element is kept or not by the n-th number of the stream, in row-major order: the same
  /// elements on every device.
  ///
  /// Reference: Srivastava et al., *Dropout: a simple way to prevent neural networks from overfitting*
  /// (2014).
  ///
  /// - Parameters:
  ///   - probability: `p`, from 0 to 1.
  ///   - generator: the stream, which goes on by as many numbers as there are elements.
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if the probability is none, or this is no
  ///   floating-point tensor.
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
    // Of the 2⁶⁴ numbers from −2⁶³ on, as many as p says are not above this one.
    let threshold = try Tensor([Int64(probability * 0x1p64 - 0x1p63)], [])
    return try .select(
      bits.isGreater(than: threshold), self * (1 / (1 - probability)), .zeros([], dtype: dtype))
  }
}
