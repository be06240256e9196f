import AttentionTensors

/// Limits of the sizes of calls, so that costs do not overflow 64-bit integers: views of little memory, and
/// tensors with an empty axis, may have extents of any size.
///
/// Every product of extents that a call computes is checked here: those of its tensors, its results, and
/// intermediate results with axes of different tensors.
enum ProblemSize {
  /// The largest product of all extents of a problem on sequences.
  static let largestProduct = 1 << 48
  /// The largest number of pairs of a query and a key, over all heads.
  static let mostPairs = 1 << 58
  /// The most rows of a batch, or packed sequences.
  static let mostSequences = 1 << 24
  /// The most heads: each takes memory, even without tokens.
  static let mostHeads = 1 << 20
  /// The largest dimension of keys and values: kernels allocate its square.
  static let longestRow = 1 << 24

  /// - Parameters:
  ///   - tensor: the argument `name`, whose shape the message shows.
  ///   - extents: called `meaning` in the message; empty axes count as 1, because memory that belongs to the
  ///     other axes is still allocated.
  /// - Throws: ``AttentionError/invalidArgument(_:was:mustBe:)`` if their product is above `largest`.
  static func check(
    _ tensor: Tensor, _ name: String, _ extents: [Int], _ meaning: String,
    largest: Int = largestProduct
  ) throws {
    var product = 1
    for extent in extents {
      let (next, overflows) = product.multipliedReportingOverflow(by: max(1, extent))
      guard !overflows, next <= largest else {
        throw AttentionError.invalidArgument(
          name, was: "\(tensor.shape)",
          mustBe: "smaller: the product of \(meaning) is at most \(largest)")
      }
      product = next
    }
  }

  /// - Throws: ``AttentionError/invalidArgument(_:was:mustBe:)`` if there are too many sequences.
  static func check(sequences count: Int, _ name: String) throws {
    try check(count, "sequences", mostSequences, name)
  }

  /// - Throws: ``AttentionError/invalidArgument(_:was:mustBe:)`` if there are too many heads.
  static func check(heads count: Int, _ name: String) throws {
    try check(count, "heads", mostHeads, name)
  }

  /// - Throws: ``AttentionError/invalidArgument(_:was:mustBe:)`` if the dimension of a head is too large.
  static func check(row count: Int, _ name: String) throws {
    try check(count, "elements per head", longestRow, name)
  }

  private static func check(_ count: Int, _ what: String, _ most: Int, _ name: String) throws {
    guard count <= most else {
      throw AttentionError.invalidArgument(
        name, was: "of \(count) \(what)", mustBe: "of at most \(most)")
    }
  }
}
