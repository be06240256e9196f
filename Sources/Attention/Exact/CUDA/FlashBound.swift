import Glibc
import Tensors

/// A constant that replaces the running maximum of the scores, where they are bounded so closely that
/// no weight underflows.
enum FlashBound {
  /// e⁻⁸⁰ is a normal number in float32 and bfloat16.
  private static let largestRange: Float = 80
  /// In float16 weights go from e⁻⁸ to e¹⁰, below 65,504.
  private static let largestHalfRange: Float = 18
  private static let halfRise: Float = 10

  /// A bound for each head; nil where one of them needs the running maximum.
  ///
  /// Only normalised cosine similarity without anything added has the bound |s| ≤ |scale| · groups.
  static func constants(_ inputs: ExactInputs) -> [Float]? {
    guard let groups = inputs.normalizedGroups, !inputs.hasAddedTerms, inputs.softcap == nil,
      inputs.sinks == nil
    else { return nil }
    let isHalf = inputs.dtype == .float16
    let sizes = inputs.scale.map { abs($0) * Float(groups) }
    let range = isHalf ? largestHalfRange : largestRange
    guard sizes.allSatisfy({ 2 * $0 <= range }) else { return nil }
    return isHalf ? sizes.map { $0 - halfRise } : sizes
  }
}

extension ExactInputs {
  /// Whether anything is added to scores before the mask.
  var hasAddedTerms: Bool { slopes != nil || bias != nil || decaySums != nil }
}
