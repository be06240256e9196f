import AttentionTensors

/// Which normalisation a layer has, and its constants.
public struct NormOptions: Hashable, Sendable {
  public enum Kind: Hashable, Sendable {
    /// ``RMSNorm``
    case rms
    /// ``LayerNorm``
    case layer
  }

  public var kind = Kind.rms
  public var epsilon = 1e-6
  /// Added to the weight before it multiplies; with 1 the parameter starts at 0, as in Gemma.
  public var weightOffset = 0.0
  /// Whether a layer norm has a bias.
  public var hasBias = false

  public init(
    _ kind: Kind = .rms, epsilon: Double = 1e-6, weightOffset: Double = 0, hasBias: Bool = false
  ) {
    self.kind = kind
    self.epsilon = epsilon
    self.weightOffset = weightOffset
    self.hasBias = hasBias
  }
}

/// A normalisation over the last axis, [..., width] → [..., width].
public enum Norm: Sendable {
  case rms(RMSNorm)
  case layer(LayerNorm)

  /// - Throws: ``LayerError``.
  public init(_ options: NormOptions, width: Int, scope: ParameterScope) throws {
    switch options.kind {
    case .rms:
      self = .rms(
        try RMSNorm(
          width: width, epsilon: options.epsilon, weightOffset: options.weightOffset, scope: scope))
    case .layer:
      self = .layer(
        try LayerNorm(
          width: width, epsilon: options.epsilon, hasBias: options.hasBias, scope: scope))
    }
  }

  /// - Throws: `TensorError.invalidArgument(_:was:mustBe:)` if the last axis is not `width` long.
  public func callAsFunction(_ x: Tensor) throws -> Tensor {
    switch self {
    case .rms(let norm): try norm(x)
    case .layer(let norm): try norm(x)
    }
  }
}

/// y = (w + offset) · x / √(mean(x²) + ε) over the last axis.
///
/// Reference: Zhang, Sennrich, *Root mean square layer normalization* (2019).
public struct RMSNorm: Sendable {
  /// [width]
  public let weight: Tensor
  public let epsilon: Double
  public let weightOffset: Double

  /// - Parameters:
  ///   - width: the extent of the last axis.
  ///   - epsilon: ε
  ///   - weightOffset: added to the weight before it multiplies. The weight starts at 1 − `weightOffset`.
  ///   - scope: where the weight comes from.
  /// - Throws: ``LayerError``.
  public init(width: Int, epsilon: Double, weightOffset: Double = 0, scope: ParameterScope) throws {
    try LayerError.require("epsilon", isPositive: epsilon)
    weight = try scope.parameter("weight", [width], .constant(1 - weightOffset))
    self.epsilon = epsilon
    self.weightOffset = weightOffset
  }

  /// - Throws: `TensorError.invalidArgument(_:was:mustBe:)` if the last axis is not `width` long.
  public func callAsFunction(_ x: Tensor) throws -> Tensor {
    guard weightOffset != 0 else { return try x.rmsNorm(weight: weight, epsilon: epsilon) }
    // The sum of a small weight and the offset is not rounded to half precision.
    let wide = weight.dtype.isHalfPrecision ? try weight.cast(to: .float32) : weight
    return try x.rmsNorm(weight: wide + weightOffset, epsilon: epsilon)
  }
}

/// y = w · (x − mean(x)) / √(variance(x) + ε) + b over the last axis.
///
/// Reference: Ba, Kiros, Hinton, *Layer normalization* (2016).
public struct LayerNorm: Sendable {
  /// [width]
  public let weight: Tensor
  /// [width]
  public let bias: Tensor?
  public let epsilon: Double

  /// - Throws: ``LayerError``.
  public init(width: Int, epsilon: Double, hasBias: Bool = true, scope: ParameterScope) throws {
    try LayerError.require("epsilon", isPositive: epsilon)
    weight = try scope.parameter("weight", [width], .ones)
    bias = hasBias ? try scope.parameter("bias", [width], .zeros) : nil
    self.epsilon = epsilon
  }

  /// - Throws: `TensorError.invalidArgument(_:was:mustBe:)` if the last axis is not `width` long.
  public func callAsFunction(_ x: Tensor) throws -> Tensor {
    try x.layerNorm(weight: weight, bias: bias, epsilon: epsilon)
  }
}
