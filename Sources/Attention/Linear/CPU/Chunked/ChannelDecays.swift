import AttentionCPUKernels

/// Decays by channel inside one chunk: of each token within its block, and of whole blocks.
/// Exponentials are as costly as products, so each is computed once; the decay between two blocks
/// is a product of a few others.
struct ChannelDecays {
  typealias Rows = UnsafeMutablePointer<Float>

  /// [64, k] each: e^g, its product from the start of the block through the token, and its product
  /// after the token to the end of the block.
  let factors, fromStart, toEnd: Rows
  /// [4, k] each: the decay of a block, of all blocks before it, and of all blocks after it.
  let totals, before, after: Rows
  private let k: Int
  private let kernels: cpu_kernels

  /// - Parameter exist: whether there are decays by channel.
  init(_ shape: ChunkShape, exist: Bool, _ arena: inout Arena) {
    kernels = shape.kernels
    k = shape.k
    let size = exist ? ChunkScores.length * k : 0
    (factors, fromStart, toEnd) = (arena.take(size), arena.take(size), arena.take(size))
    let blocks = size / ChunkScores.block
    (totals, before, after) = (arena.take(blocks), arena.take(blocks), arena.take(blocks))
  }

  /// - Parameters:
  ///   - g: logarithms of the decay [count, k].
  ///   - total: `[k]`: receives the decay of the whole chunk. It is applied over many chunks, so it
  ///     is the exponential of the sum, not a product.
  func compute(_ count: Int, _ g: UnsafePointer<Float>, total: Rows, work: Rows) {
    kernels.unary_f32(CPU_EXP, count * k, g, factors)
    fromStart.update(repeating: 1, count: count * k)
    toEnd.update(repeating: 1, count: count * k)
    let blocks = ChunkScores.blocks(count)
    for block in blocks {
      let (rows, place) = (block.tokens.count, block.tokens.lowerBound * k)
      kernels.decay_from_start(
        rows, k, fromStart + place, g + place, 1, fromStart + place, totals + block.index * k)
      kernels.decay_to_end(rows, k, toEnd + place, g + place, 1, toEnd + place, work)
    }
    before.update(repeating: 1, count: k)
    after.advanced(by: (blocks.count - 1) * k).update(repeating: 1, count: k)
    for index in 1..<max(1, blocks.count) {
      let (earlier, later) = ((index - 1) * k, (blocks.count - index) * k)
      scale(1, before + earlier, totals + earlier, into: before + earlier + k)
      scale(1, after + later, totals + later, into: after + later - k)
    }
    total.update(repeating: 0, count: k)
    for t in 0..<count { kernels.axpy(k, 1, g + t * k, total) }
    kernels.unary_f32(CPU_EXP, k, total, total)
  }

  /// y = x ⊙ a for rows of `a`, ``fromStart`` or ``toEnd``; y may be x.
  func multiply(
    _ count: Int, _ x: UnsafePointer<Float>, _ a: UnsafePointer<Float>, into y: Rows
  ) {
    kernels.binary_f32(CPU_MULTIPLY, count * k, x, 1, a, 1, y)
  }

  /// y = x ⊙ factor for `count` rows x; y may be x.
  func scale(
    _ count: Int, _ x: UnsafePointer<Float>, _ factor: UnsafePointer<Float>, into y: Rows
  ) {
    if x != UnsafePointer(y) { y.update(from: x, count: count * k) }
    kernels.scale_columns(count, k, factor, y, k)
  }

  /// Extends the decay of rows [count, k] from the start of their blocks to the start of the chunk,
  /// or from the end of their blocks to its end; y may be x.
  func scale(
    _ count: Int, _ x: UnsafePointer<Float>, byBlock factors: UnsafePointer<Float>, into y: Rows
  ) {
    for block in ChunkScores.blocks(count) {
      let place = block.tokens.lowerBound * k
      scale(block.tokens.count, x + place, factors + block.index * k, into: y + place)
    }
  }
}
