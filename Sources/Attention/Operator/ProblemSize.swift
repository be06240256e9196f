import AttentionTensors

/// Up to which sizes calls are taken, so that costs are counted in integers of 64 bits: tensors that
/// are views of little memory, or have an empty axis, may have extents of any size.
///
/// Every product of extents that a call makes is checked here: those of its tensors, of its results, and of
/// what lies between, whose axes belong to different tensors.
enum ProblemSize {
  /// The largest product of all extents of a problem on sequences.
  static let largestProduct = 1 << 48
  /// The largest number of pairs of a query and a key, over all heads.
  static let mostPairs = 1 << 58
  /// The most rows of a batch, or packed sequences.
  static let mostSequences = 1 << 24
  /// The most heads: each has numbers of its own, whether there are tokens or not.
  static let mostHeads = 1 << 20
  /// The longest rows of keys and values of a head: kernels have room for their square.
  static let longestRow = 1 << 24

  /// - Parameters:
  ///   - tensor: the argument called `name`, which the message shows.
  ///   - extents: called `meaning` in the message; empty axes count as 1, since what belongs to the
  ///     other axes still is.
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

  /// - Throws: ``AttentionError/invalidArgument(_:was:mustBe:)`` if the rows of a head are too long.
  static func check(row count: Int, _ name: String) throws {
    try check(count, "numbers a head", longestRow, name)
  }

  private static func check(_ count: Int, _ what: String, _ most: Int, _ name: String) throws {
    guard count <= most else {
      throw AttentionError.invalidArgument(
        name, was: "of \(count) \(what)", mustBe: "of at most \(most)")
    }
  }
}
