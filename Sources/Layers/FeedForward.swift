import AttentionTensors

/// y = W₂ (silu(W₀ x) ⊙ W₁ x), the SwiGLU feed-forward layer.
///
/// Reference: Shazeer, *GLU variants improve transformer* (2020).
public struct FeedForward: Sendable {
  private let gate: Linear
  private let up: Linear
  private let down: Linear

  /// - Parameters:
  ///   - width: the extent of the last axis of input and output.
  ///   - inner: the width between the projections.
  ///   - outputScale: the standard deviation of an output for inner activations of variance 1.
  ///   - scope: where the three projections come from.
  /// - Throws: ``LayerError``.
  public init(width: Int, inner: Int, outputScale: Double = 1, scope: ParameterScope) throws {
    gate = try Linear(inputs: width, outputs: inner, scope: scope["gate_proj"])
    up = try Linear(inputs: width, outputs: inner, scope: scope["up_proj"])
    down = try Linear(
      inputs: inner, outputs: width, scale: outputScale, scope: scope["down_proj"])
  }

  public func callAsFunction(_ x: Tensor) throws -> Tensor {
    try down(Tensor.swiglu(gate(x), up(x)))
  }
}
