/// Splits the elements of tensors into pieces of work. The split depends on the counts alone, so sums over
/// pieces are the same for any number of threads.
struct ElementBlocks {
  struct Block {
    let tensor: Int
    let start: Int
    let count: Int
  }

  /// Large enough that starting a piece costs nothing, small enough that two threads share even a small
  /// model.
  private static let length = 16384

  let blocks: [Block]

  init(counts: [Int]) {
    blocks = counts.enumerated().flatMap { tensor, count in
      stride(from: 0, to: count, by: ElementBlocks.length).map {
        Block(tensor: tensor, start: $0, count: min(ElementBlocks.length, count - $0))
      }
    }
  }
}
