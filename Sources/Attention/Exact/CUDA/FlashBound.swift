import Tensors

/// A constant that replaces the running maximum of the scores, where they are bounded so closely that
/// no weight underflows: |scale| · `factor` − `rise`.
struct FlashBound: Hashable, Sendable {
  let factor: Float
  let rise: Float

  /// e⁻⁸⁰ is a normal number in float32 and bfloat16.
  private static let largestRange: Float = 80
  /// In float16 weights go from e⁻⁸ to e¹⁰, below 65,504.
  private static let largestHalfRange: Float = 18
  private static let halfRise: Float = 10

  /// nil where the running maximum is needed.
  ///
  /// Only normalised cosine similarity without anything added has the bound |s| ≤ |scale| · groups. Scales
  /// of heads are in the device's memory, which is not waited for.
  init?(_ inputs: ExactInputs) {
    guard let groups = inputs.normalizedGroups, !inputs.hasAddedTerms, inputs.softcap == nil,
      !inputs.hasSinks, inputs.scales == nil, let scale = inputs.scale.first
    else { return nil }
    let isHalf = inputs.dtype == .float16
    let size = abs(scale) * Float(groups)
    guard 2 * size <= (isHalf ? Self.largestHalfRange : Self.largestRange) else { return nil }
    factor = Float(groups)
    rise = isHalf ? Self.halfRise : 0
  }
}

extension ExactInputs {
  /// Whether anything is added to scores before the mask.
  var hasAddedTerms: Bool { slopes != nil || bias != nil || logitDecay != nil }
}
