/// How `tensors/reduce.cu` spreads a sum over threads and blocks: a pure function of the shape, so that a
/// sum has the same bits on every device.
struct ReductionPlan: Hashable {
  static let threads = 256
  private static let warpThreads = 32
  private static let groupSize = 4
  /// Blocks that fill every device.
  private static let enoughBlocks = 1024
  /// Elements that a thread adds up at least before it is worth having more threads.
  private static let elementsOfThread = 8

  /// Threads a result, and results a block: powers of two.
  var lanes: Int
  var blockResults: Int
  /// Neighbouring threads have neighbouring results, not neighbouring elements of one result.
  var isAcross: Bool
  /// A result's elements are cut into this many pieces of `piece` elements.
  var pieces: Int
  var piece: Int
  /// Blocks along the results.
  var blocks: Int

  /// - Parameters:
  ///   - results: how many sums there are.
  ///   - count: how many elements each adds up.
  ///   - isAcross: whether neighbouring results lie nearer together than neighbouring elements of one.
  init(results: Int, count: Int, isAcross: Bool) {
    self.isAcross = isAcross
    func power(atLeast number: Int, atMost limit: Int) -> Int {
      var power = 1
      while power < number, power < limit { power *= 2 }
      return power
    }
    if isAcross {
      blockResults = power(atLeast: results, atMost: Self.warpThreads)
      lanes = Self.threads / blockResults
    } else {
      lanes = power(atLeast: count / Self.elementsOfThread, atMost: Self.threads)
      blockResults = Self.threads / lanes
    }
    blocks = (results + blockResults - 1) / blockResults
    let least = lanes * Self.elementsOfThread
    let wanted = min(
      (count + least - 1) / least, (Self.enoughBlocks + blocks - 1) / max(1, blocks))
    // Whole groups of elements, so that each piece begins where the first may.
    piece = (count / max(1, wanted) + Self.groupSize) / Self.groupSize * Self.groupSize
    pieces = max(1, (count + piece - 1) / piece)
  }
}
