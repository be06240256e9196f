import AttentionCUDAKernels

/// How `tensors/reduce.cu` spreads a sum over threads and blocks: a pure function of the shape, so that a
/// sum has the same bits on every device.
struct ReductionPlan: Hashable {
  static let threads = 256
  /// Blocks that fill every device.
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
      blockResults = power(atLeast: results, atMost: warp_threads)
      lanes = Self.threads / blockResults
    } else {
      lanes = power(atLeast: count / Self.elementsOfThread, atMost: Self.threads)
      blockResults = Self.threads / lanes
    }
    blocks = results.pieces(of: blockResults)
    let least = lanes * Self.elementsOfThread
    let wanted = min(
      count.pieces(of: least), (Self.enoughBlocks + blocks - 1) / max(1, blocks))
    // Whole groups of elements, so that each piece begins where the first may.
    piece = (count / max(1, wanted) + group_size) / group_size * group_size
    pieces = max(1, count.pieces(of: piece))
  }
}
