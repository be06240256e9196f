import SwiftAttention

/// What the example found out to be wrong.
struct Failure: Error, CustomStringConvertible {
  let description: String
}

/// Throws a ``Failure`` of these words unless `condition` holds.
func check(_ condition: Bool, _ words: @autoclosure () -> String) throws {
  guard condition else { throw Failure(description: words()) }
}

extension Tensor {
  /// The largest distance of an element from that of `other`.
  func largestDifference(from other: Tensor) throws -> Double {
    try (self - other).absolute().elements(as: Float.self).map(Double.init).max() ?? 0
  }
}
