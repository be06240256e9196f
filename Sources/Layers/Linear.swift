import AttentionTensors

/// y = x Wᵀ + b over the last axis, [..., inputs] → [..., outputs].
public struct Linear: Sendable {
  /// [outputs, inputs]
  public let weight: Tensor
  /// [outputs]
  public let bias: Tensor?

  /// - Parameters:
  ///   - inputs: the extent of the input's last axis.
  ///   - outputs: the extent of the output's last axis.
  ///   - hasBias: whether there is a bias b, which starts at zero.
  ///   - scale: the standard deviation of an output for inputs of variance 1.
  ///   - scope: where the parameters come from.
  /// - Throws: ``LayerError``.
  public init(
    inputs: Int, outputs: Int, hasBias: Bool = false, scale: Double = 1, scope: ParameterScope
  ) throws {
    weight = try scope.parameter(
      "weight", [outputs, inputs], .scaledNormal(inputs: inputs, scale: scale))
    bias = hasBias ? try scope.parameter("bias", [outputs], .zeros) : nil
  }

  /// - Throws: ``LayerError/invalidArgument(_:was:mustBe:)`` if the last axis is not `inputs` long.
  public func callAsFunction(_ x: Tensor) throws -> Tensor {
    let product = try x.multiplied(byRowsOf: weight)
    return if let bias { try product + bias } else { product }
  }
}

extension Tensor {
  /// This tensor, [..., inputs], times the transpose of `weight`, [outputs, inputs]: [..., outputs].
  ///
  /// Unlike in a product with a transposed view, the gradient of the weight is contiguous.
  ///
  /// - Throws: ``LayerError/invalidArgument(_:was:mustBe:)`` if the last axis is not `inputs` long.
  public func multiplied(byRowsOf weight: Tensor) throws -> Tensor {
    guard rank >= 1, shape[rank - 1] == weight.shape[1] else {
      throw LayerError.invalidArgument(
        "x", was: "\(shape)", mustBe: "[..., \(weight.shape[1])]")
    }
    let w = weight.detached()
    let (outputs, inputs) = (w.shape[0], w.shape[1])
    let outer = Array(shape.dropLast())
    let count = outer.reduce(1, *)
    let matrix = try reshaped([count, inputs])
    let rows = matrix.detached()
    let product = try rows.matmul(w.transposed()).recorded(from: [matrix, weight]) { g, history in
      [try g.matmul(history.input(1, w)), try g.transposed().matmul(history.input(0, rows))]
    }
    return try product.reshaped(Shape(outer + [outputs]))
  }
}
