import AttentionTensors

/// Smallest forget gates that a model learns for all its layers together, larger in later ones: HGRN's hierarchy.
///
///     γ_l = p_1 + … + p_l ,  p = softmax of the parameter over the layers, from 0 on
///
/// A model shares them with the layers of a call (``TokenContext/shared``), where ``HGRN`` and ``HGRN2`` find theirs.
public struct LayerBounds: Sendable {
  /// [layers, width]
  private let logits: Tensor

  private static let name = "layer_bounds"

  /// - Parameters:
  ///   - layers: the number of layers.
  ///   - width: the number of forget gates of each.
  ///   - path: the parameter's path.
  ///   - scope: where it comes from.
  /// - Throws: ``LayerError``.
  public init(layers: Int, width: Int, path: String, scope: ParameterScope) throws {
    try LayerError.require("layers", isExtent: layers)
    try LayerError.require("width", isExtent: width)
    logits = try scope.parameter(path, [layers, width], .zeros)
  }

  /// Leaves the bounds for the layers of a call.
  public func share(in context: TokenContext) throws {
    let wide = try logits.dtype.isHalfPrecision ? logits.cast(to: .float32) : logits
    let shares = try wide.transposed().softmax()
    let bounds = try shares.cumulativeSum(1) - shares.sliced(1, 0..<1)
    context.shared[Self.name] = try bounds.transposed()
  }

  /// The bounds [width] of a layer that `context` shares.
  ///
  /// - Throws: ``LayerError/invalidArgument(_:was:mustBe:)`` if there are none of this width.
  static func bound(layer: Int, width: Int, in context: TokenContext) throws -> Tensor {
    guard let bounds = context.shared[name], bounds.shape[0] > layer, bounds.shape[1] == width
    else {
      throw LayerError.invalidArgument(
        "context", was: "without bounds of layer \(layer) of \(width) forget gates",
        mustBe: "one that a model with learned bounds has made")
    }
    return try bounds.selected(0, layer)
  }
}
