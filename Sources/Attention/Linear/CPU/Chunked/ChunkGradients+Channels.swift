import AttentionCPUKernels

/// Gradients between tokens of one chunk with a decay per channel.
extension ChunkGradients {
  func addPairsByChannel(_ count: Int, _ flow: Flow) {
    let blocks = ChunkScores.blocks(count)
    for (index, read) in scores.reads.enumerated() where read.moment == .afterDecay {
      for write in writes.indices { clearDiagonal(scoreGradient(index, write), count) }
    }
    for rows in readPairs {
      rows.update(repeating: 0, count: min(count, ChunkScores.block) * k)
    }
    for block in blocks.dropFirst() { readEarlier(block, count, flow) }
    for rows in writePairs { rows.update(repeating: 0, count: count * k) }
    // From the last block to the first, the gradient of all earlier writes, decayed to the start of
    // the current block. Later blocks have added theirs to the current block's own writes before.
    for block in blocks.reversed() { writeEarlier(block, count, flow) }
    gather(count, flow)
    addDiagonals(count, flow)
  }

  private var channels: ChannelDecays { scores.channels }

  /// The number of rows of a read in a block.
  private func rows(_ block: ChunkScores.Block, _ read: Int, _ count: Int) -> Int {
    min(block.tokens.upperBound, count - scores.reads[read].moment.shift) - block.tokens.lowerBound
  }

  /// The gradient of a block's reads from the writes before it, which are decayed to its start and
  /// then within the block.
  private func readEarlier(_ block: ChunkScores.Block, _ count: Int, _ flow: Flow) {
    let (first, length) = (block.tokens.lowerBound, ChunkScores.length)
    for write in writes.indices {
      pack(scores.earlierRows(write, before: block), first)
      for read in reads.indices {
        let rows = rows(block, read, count)
        multiply(
          left(scoreGradient(read, write) + first * length, rows: rows, depth: first),
          rows: 0..<rows, depth: 0..<first, into: readPairs[read] + first * k, adds: write > 0)
      }
    }
    for read in reads.indices {
      let pairs = readPairs[read] + first * k
      channels.multiply(
        rows(block, read, count), pairs, channels.fromStart + first * k, into: pairs)
    }
  }

  /// The gradient of the writes up to the end of a block from the block's reads.
  private func writeEarlier(_ block: ChunkScores.Block, _ count: Int, _ flow: Flow) {
    let (first, length) = (block.tokens.lowerBound, ChunkScores.length)
    let place = first * k
    for (write, pairs) in writePairs.enumerated() {
      channels.multiply(
        block.tokens.count, pairs + place, channels.toEnd + place, into: pairs + place)
      for (index, read) in scores.reads.enumerated() {
        kernels.channel_scores_backward(
          rows(block, index, count), k, flow.reads[index] + place + read.moment.shift * k,
          flow.writes[write] + place, channels.factors + place,
          scoreGradient(index, write) + first * (length + 1), length, readPairs[index] + place,
          pairs + place)
      }
      channels.scale(first, pairs, channels.totals + block.index * k, into: pairs)
    }
    guard first > 0 else { return }
    for (index, read) in scores.reads.enumerated() {
      let rows = rows(block, index, count)
      pack(read.blockRows + place, rows)
      for (write, pairs) in writePairs.enumerated() {
        multiply(
          leftTransposed(scoreGradient(index, write) + first * length, rows: first, depth: rows),
          rows: 0..<first, depth: 0..<rows, into: pairs, adds: true)
      }
    }
  }

  /// Adds the parts, and computes the gradient of the decay from them.
  private func gather(_ count: Int, _ flow: Flow) {
    for d in 0..<k { through[d] *= scores.total[d] }
    earlier.update(repeating: 0, count: count * k)
    later.update(repeating: 0, count: count * k)
    for (index, read) in scores.reads.enumerated() {
      let shift = read.moment.shift * k
      let size = count * k - shift
      kernels.axpy(size, 1, readPairs[index], reads[index] + shift)
      kernels.add_products(size, 1, flow.reads[index] + shift, reads[index] + shift, later)
    }
    for (write, keys) in flow.writes.enumerated() {
      kernels.add_products(count * k, 1, keys, writes[write], earlier)
      kernels.add_products(count * k, -1, keys, writePairs[write], later)
      kernels.axpy(count * k, 1, writePairs[write], writes[write])
    }
    kernels.sum_around(count, k, through, earlier, later, decay)
  }

  /// Adds the pairs without a decay between them.
  private func addDiagonals(_ count: Int, _ flow: Flow) {
    for (index, read) in scores.reads.enumerated() where read.moment != .afterDecay {
      let shift = read.moment.shift * k
      for (write, keys) in flow.writes.enumerated() {
        let gradient = scoreGradient(index, write)
        for t in 0..<count - read.moment.shift {
          let own = gradient[t * (ChunkScores.length + 1)]
          kernels.axpy(k, own, keys + t * k, reads[index] + shift + t * k)
          kernels.axpy(k, own, flow.reads[index] + shift + t * k, writes[write] + t * k)
        }
      }
    }
  }
}
