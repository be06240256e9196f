import AttentionTensors

/// A constant that replaces the running maximum of the scores if they are bounded so closely that no weight
/// underflows: |scale| · `factor` − `rise`.
struct ScoreBound: Hashable, Sendable {
  let factor: Float
  let rise: Float
  /// The largest distance between two scores, which is at most 2 · |scale| · `factor`.
  let range: Float

  /// e⁻⁸⁰ is a normal number in float32 and bfloat16.
  private static let largestRange: Float = 80
  /// In float16 weights go from e⁻⁸ to e¹⁰, below 65,504.
  private static let largestHalfRange: Float = 18
  private static let halfRise: Float = 10

  /// Nil if the running maximum is needed, whatever the scale: only normalised cosine similarity has the bound
  /// |s| ≤ |scale| · groups, and only if no term makes a score larger.
  ///
  /// - Parameter hasHalfWeights: whether weights are rounded to float16.
  init?(_ inputs: ExactArguments, hasHalfWeights: Bool = false) {
    guard let groups = inputs.normalizedGroups, inputs.problem.terms.isSubset(of: .bounded) else {
      return nil
    }
    factor = Float(groups)
    rise = hasHalfWeights ? Self.halfRise : 0
    range = hasHalfWeights ? Self.largestHalfRange : Self.largestRange
  }

  /// The constant of a head with this scale; nil if it needs the running maximum.
  func shift(scale: Float) -> Float? {
    let bound = abs(scale) * factor
    return 2 * bound <= range ? bound - rise : nil
  }

  /// The bound of GPU kernels, which have none with terms. Scales per head are in device memory, which the host
  /// does not wait for: kernels compare them with ``range``, head by head.
  static func onDevice(_ inputs: ExactArguments) -> ScoreBound? {
    guard inputs.problem.terms.isEmpty,
      let bound = ScoreBound(inputs, hasHalfWeights: inputs.dtype == .float16),
      inputs.scales != nil || inputs.scale.first.flatMap(bound.shift) != nil
    else { return nil }
    return bound
  }
}
