import AttentionTensors

/// A constant that replaces the running maximum of the scores, where they are bounded so closely that
/// no weight underflows: |scale| · `factor` − `rise`.
struct FlashBound: Hashable, Sendable {
  let factor: Float
  let rise: Float
  /// How far scores may lie apart, at most 2 · |scale| · `factor`. Scales of heads lie in the device's
  /// memory, which is not waited for: the kernel compares them, head by head.
  let range: Float

  /// e⁻⁸⁰ is a normal number in float32 and bfloat16.
  private static let largestRange: Float = 80
  /// In float16 weights go from e⁻⁸ to e¹⁰, below 65,504.
  private static let largestHalfRange: Float = 18
  private static let halfRise: Float = 10

  /// nil where the running maximum is needed.
  ///
  /// Only normalised cosine similarity without anything added has the bound |s| ≤ |scale| · groups.
  init?(_ inputs: ExactArguments) {
    guard let groups = inputs.normalizedGroups, inputs.problem.terms.isEmpty else { return nil }
    let isHalf = inputs.dtype == .float16
    factor = Float(groups)
    rise = isHalf ? Self.halfRise : 0
    range = isHalf ? Self.largestHalfRange : Self.largestRange
    if inputs.scales == nil {
      guard let scale = inputs.scale.first, 2 * abs(scale) * factor <= range else { return nil }
    }
  }
}
