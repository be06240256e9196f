import AttentionTensors

/// The function whose result multiplies the output of a mixer's heads.
public enum OutputGate: String, CaseIterable, Sendable, Codable {
  /// x σ(x)
  case swish
  /// σ(x)
  case sigmoid

  /// `x` times the gate of `logits`, which have its shape and dtype.
  func callAsFunction(_ x: Tensor, _ logits: Tensor) throws -> Tensor {
    switch self {
    case .swish: try .swiglu(logits, x)
    case .sigmoid: try x * logits.sigmoid()
    }
  }
}

/// A root-mean-square norm and an output gate, in either order:
///
///     y = w ⊙ x / √(mean(x²) + ε) ⊙ gate(z) ,   or   x ⊙ gate(z) in place of x, and no gate after it
///
/// with the mean over the last axis, or over each of equal groups of it.
///
/// Parameters: `weight` [width].
public struct GatedNorm: Sendable {
  /// [width]
  public let weight: Tensor
  public let epsilon: Double
  public let gate: OutputGate
  /// Whether the gate comes before the norm.
  public let gatesFirst: Bool
  let groups: Int

  /// - Parameters:
  ///   - width: the extent of the last axis.
  ///   - groups: the number of groups of the last axis, a divisor of its extent.
  ///   - gate: the function of the gate.
  ///   - gatesFirst: whether the gate comes before the norm, as in Mamba-2.
  ///   - epsilon: ε
  ///   - scope: where the weight comes from.
  /// - Throws: ``LayerError``.
  public init(
    width: Int, groups: Int = 1, gate: OutputGate = .swish, gatesFirst: Bool = false,
    epsilon: Double, scope: ParameterScope
  ) throws {
    try LayerError.require("epsilon", isPositive: epsilon)
    try LayerError.require("groups", isExtent: groups)
    try LayerError.require("width", width, isMultipleOf: groups, "groups")
    weight = try scope.parameter("weight", [width], .ones)
    self.epsilon = epsilon
    self.gate = gate
    self.gatesFirst = gatesFirst
    self.groups = groups
  }

  /// - Parameters:
  ///   - x: `[..., width]`
  ///   - logits: z, of the shape and dtype of `x`; nil for no gate.
  /// - Throws: `TensorError` if shapes or dtypes do not agree.
  public func callAsFunction(_ x: Tensor, gate logits: Tensor? = nil) throws -> Tensor {
    guard let logits else { return try normalized(x) }
    return gatesFirst ? try normalized(gate(x, logits)) : try gate(normalized(x), logits)
  }

  private func normalized(_ x: Tensor) throws -> Tensor {
    guard groups > 1 else { return try x.rmsNorm(weight: weight, epsilon: epsilon) }
    let width = weight.shape[0] / groups
    let ones = try Tensor.ones([width], dtype: x.dtype, device: x.device)
    let grouped = try x.reshaped(Shape(Array(x.shape.dropLast()) + [groups, width]))
    return try grouped.rmsNorm(weight: ones, epsilon: epsilon).reshaped(x.shape) * weight
  }
}
