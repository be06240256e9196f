import AttentionCUDAKernels
import AttentionTensors

/// Tensors in one launch: each is cut into pieces, one block each.
struct TensorPieces {
  /// Elements of a piece, and the threads that work on it.
  static let length = piece_length
  static let threads = piece_threads

  /// The number of each tensor's first block.
  let firstBlocks: [Int]
  /// All blocks.
  let blocks: Int

  /// - Parameter counts: the elements of each tensor; one without elements has no block.
  init(counts: [Int]) {
    var blocks = 0
    firstBlocks = counts.map { count in
      defer { blocks += count.pieces(of: Self.length) }
      return blocks
    }
    self.blocks = blocks
  }
}

/// Where tensors lie in one piece of memory, each at a multiple of 256 bytes of float32.
struct PackedPlaces {
  private static let alignment = 64

  let starts: [Int]
  let total: Int

  init(counts: [Int]) {
    var end = 0
    starts = counts.map { count in
      defer { end += count.rounded(up: Self.alignment) }
      return end
    }
    total = end
  }

  /// The tensors of these shapes in `memory`, [total].
  func views(of memory: Tensor, _ shapes: [Shape]) throws -> [Tensor] {
    try zip(starts, shapes).map { start, shape in
      try memory.sliced(0, start..<start + shape.elementCount).reshaped(shape)
    }
  }
}
