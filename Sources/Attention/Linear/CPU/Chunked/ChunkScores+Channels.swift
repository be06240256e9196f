import AttentionCPUKernels

/// Scores with a decay per channel.
extension ChunkScores {
  /// By channel, [first token of `block`, k]: the rows written before the block, decayed to its
  /// start.
  func earlierRows(_ write: Int, before block: Block) -> UnsafeMutablePointer<Float> {
    let places = Self.block * block.index * (block.index - 1) / 2
    return writes[write].earlierRows + places * k
  }

  func computeByChannel(
    _ count: Int, _ sources: [UnsafePointer<Float>], _ keys: [UnsafePointer<Float>],
    _ g: UnsafePointer<Float>, from firstScored: Int
  ) {
    channels.compute(count, g, total: total, work: work)
    for (index, source) in sources.enumerated().dropFirst(firstScored) {
      let (read, shift) = (reads[index], reads[index].moment.shift)
      read.room.update(from: source, count: shift * k)
      channels.multiply(
        count - shift, source + shift * k, channels.fromStart, into: read.blockRows)
      channels.scale(
        count - shift, read.blockRows, byBlock: channels.before, into: read.room + shift * k)
    }
    for (write, keys) in keys.enumerated() {
      for block in Self.blocks(count) {
        score(block, count, write, keys, sources, from: firstScored)
        passOn(block, count, write, keys)
      }
    }
  }

  /// Scores of the reads of a block.
  private func score(
    _ block: Block, _ count: Int, _ write: Int, _ keys: UnsafePointer<Float>,
    _ sources: [UnsafePointer<Float>], from firstScored: Int
  ) {
    let (first, place) = (block.tokens.lowerBound, block.tokens.lowerBound * k)
    if first > 0 { pack(earlierRows(write, before: block), first) }
    for (index, read) in reads.enumerated().dropFirst(firstScored) {
      // A read before the decay has one row fewer in the last block.
      let shift = read.moment.shift
      let rows = min(block.tokens.upperBound, count - shift) - first
      let target = scores(index, write) + (shift + first) * Self.length
      if first > 0 {
        multiply(left(read.blockRows + place, rows), rows: 0..<rows, keys: first, into: target)
      }
      kernels.channel_scores(
        rows, k, sources[index] + place + shift * k, keys + place, channels.factors + place, work,
        target + first, Self.length)
    }
  }

  /// Decays the rows written up to the end of a block to the start of the next block, or to the end
  /// of the chunk.
  private func passOn(
    _ block: Block, _ count: Int, _ write: Int, _ keys: UnsafePointer<Float>
  ) {
    let (first, place) = (block.tokens.lowerBound, block.tokens.lowerBound * k)
    let isLast = block.tokens.upperBound == count
    let next = Block(index: block.index + 1, tokens: block.tokens.upperBound..<count)
    let target = isLast ? writes[write].room : earlierRows(write, before: next)
    channels.scale(
      first, earlierRows(write, before: block), channels.totals + block.index * k, into: target)
    channels.multiply(
      block.tokens.count, keys + place, channels.toEnd + place, into: target + place)
  }
}
