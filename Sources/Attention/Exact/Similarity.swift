import AttentionTensors

/// The factor of the similarity: one number, or one per query head.
public enum Scale: Sendable {
  case number(Double)
  /// [heads], any floating-point dtype; tracked tensors get a gradient.
  case perHead(Tensor)
}

/// The similarity of a query and a key.
public enum Similarity: Sendable {
  /// s = scale · q·k. A scale of nil is 1/√dimension.
  case dotProduct(scale: Scale? = nil)

  /// s = scale · q̂·k̂, with q and k l2-normalised in `groups` equal slices.
  ///
  /// The normalisation happens inside the kernel, gradients included. With `normalizes: false` the
  /// caller has normalised (and perhaps rotated) already. A slice of a norm below
  /// ``shortestSlice`` counts as zero.
  case cosine(scale: Scale = .number(8), groups: Int = 1, normalizes: Bool = true)

  /// Slices of a norm below this count as zero vectors: their similarities and gradients are zero.
  public static let shortestSlice: Float = 1e-12

  /// The factor; nil for 1/√dimension.
  var scale: Scale? {
    switch self {
    case .dotProduct(let scale): scale
    case .cosine(let scale, _, _): scale
    }
  }
}
