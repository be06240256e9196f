import AttentionTensors

/// y = w · (x − mean(x)) / √(variance(x) + ε) + b, with mean and variance over each of equal groups of the last axis.
///
/// Parameters: `weight` [width], and `bias` [width] if it has one.
///
/// Reference: Wu, He, [*Group normalization*](https://arxiv.org/abs/1803.08494) (2018).
public struct GroupNorm: Sendable {
  /// [width]
  public let weight: Tensor
  /// [width]
  public let bias: Tensor?
  public let epsilon: Double
  private let groups: Int

  /// - Parameters:
  ///   - width: the extent of the last axis.
  ///   - groups: the number of groups, a divisor of the width.
  ///   - hasBias: whether there is a bias.
  ///   - epsilon: ε
  ///   - scope: where the parameters come from.
  /// - Throws: ``LayerError``.
  public init(
    width: Int, groups: Int, hasBias: Bool = true, epsilon: Double, scope: ParameterScope
  ) throws {
    try LayerError.require("epsilon", isPositive: epsilon)
    try LayerError.require("groups", isExtent: groups)
    try LayerError.require("width", width, isMultipleOf: groups, "groups")
    weight = try scope.parameter("weight", [width], .ones)
    bias = hasBias ? try scope.parameter("bias", [width], .zeros) : nil
    self.epsilon = epsilon
    self.groups = groups
  }

  /// - Throws: `TensorError` if the last axis is not `width` long.
  public func callAsFunction(_ x: Tensor) throws -> Tensor {
    let width = weight.shape[0] / groups
    let grouped = try x.reshaped(Shape(Array(x.shape.dropLast()) + [groups, width]))
    let scaled = try grouped.layerNorm(epsilon: epsilon).reshaped(x.shape) * weight
    return if let bias { try scaled + bias } else { scaled }
  }
}
