import AttentionTensors

/// y = w · x / √(mean(x²) + ε) over the last axis.
///
/// Reference: Zhang, Sennrich, *Root mean square layer normalization* (2019).
public struct RMSNorm: Sendable {
  /// [width]
  public let weight: Tensor
  public let epsilon: Double

  /// - Throws: ``LayerError``.
  public init(width: Int, epsilon: Double, scope: ParameterScope) throws {
    try LayerError.require("epsilon", isPositive: epsilon)
    weight = try scope.parameter("weight", [width], .ones)
    self.epsilon = epsilon
  }

  /// - Throws: `TensorError.invalidArgument(_:was:mustBe:)` if the last axis is not `width` long.
  public func callAsFunction(_ x: Tensor) throws -> Tensor {
    try x.rmsNorm(weight: weight, epsilon: epsilon)
  }
}
