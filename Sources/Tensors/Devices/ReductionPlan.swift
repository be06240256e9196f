/// How `tensors/reduce.cu` assigns a sum to threads and blocks: a pure function of the shape, so that a sum
/// has the same bits on every device.
struct ReductionPlan: Hashable {
  static let threads = 256
  private static let warpThreads = 32
  private static let groupSize = 4
  /// Enough blocks to fill any device.
  private static let enoughBlocks = 1024
  /// The fewest elements per thread that make another thread worthwhile.
  private static let elementsOfThread = 8

  /// Threads per result, and results per block: powers of two.
  var lanes: Int
  var blockResults: Int
  /// Whether adjacent threads have adjacent results, instead of adjacent elements of one result.
  var isAcross: Bool
  /// A result's elements are split into this many pieces of `piece` elements.
  var pieces: Int
  var piece: Int
  /// Blocks along the results.
  var blocks: Int

  /// - Parameters:
  ///   - results: number of sums.
  ///   - count: elements per sum.
  ///   - isAcross: whether adjacent results are closer in memory than adjacent elements of one result.
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
    // A multiple of the group size, so that every piece is aligned as the first.
    piece = (count / max(1, wanted) + Self.groupSize) / Self.groupSize * Self.groupSize
    pieces = max(1, (count + piece - 1) / piece)
  }
}
