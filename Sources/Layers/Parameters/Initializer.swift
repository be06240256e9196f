import AttentionTensors

/// The distribution of a parameter's initial elements.
public enum Initializer: Hashable, Sendable {
  case zeros
  case ones
  /// Every element has this value.
  case constant(Double)
  /// The normal distribution around 0.
  case normal(standardDeviation: Double)
  /// The uniform distribution over the half-open range.
  case uniform(from: Double, to: Double)

  /// The normal distribution whose products with vectors of `inputs` elements of variance 1 have
  /// variance `scale`².
  public static func scaledNormal(inputs: Int, scale: Double = 1) -> Initializer {
    .normal(standardDeviation: scale / Double(max(1, inputs)).squareRoot())
  }

  /// A contiguous tensor drawn with `generator`.
  func tensor(_ shape: Shape, dtype: DType, using generator: inout Philox) throws -> Tensor {
    switch self {
    case .zeros: try Tensor.zeros(shape, dtype: dtype).contiguous()
    case .ones: try Tensor.ones(shape, dtype: dtype).contiguous()
    case .constant(let value): try Tensor.full(shape, value, dtype: dtype).contiguous()
    case .normal(let standardDeviation):
      try .normal(
        shape, standardDeviation: standardDeviation, using: &generator, dtype: dtype)
    case .uniform(let low, let high):
      try .uniform(shape, from: low, to: high, using: &generator, dtype: dtype)
    }
  }
}
