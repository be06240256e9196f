import AttentionTensors

/// A learned vector for each token: int32 indices of any shape → indices.shape + [width].
public struct Embedding: Sendable {
  /// [count, width]
  public let weight: Tensor

  /// - Throws: ``LayerError``.
  public init(count: Int, width: Int, scope: ParameterScope) throws {
    weight = try scope.parameter("weight", [count, width], .scaledNormal(inputs: width))
  }

  /// - Throws: `TensorError.invalidArgument(_:was:mustBe:)` if an index is out of range.
  public func callAsFunction(_ indices: Tensor) throws -> Tensor {
    try weight.gatheringRows(indices)
  }

  /// The product of each vector of `x` [..., width] with every token's vector, [..., count]: the
  /// output projection of a model whose embeddings are tied.
  public func logits(_ x: Tensor) throws -> Tensor { try x.multiplied(byRowsOf: weight) }
}
