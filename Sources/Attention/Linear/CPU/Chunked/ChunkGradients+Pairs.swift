import AttentionCPUKernels

/// Gradients between tokens of one chunk whose channels share a decay.
extension ChunkGradients {
  /// The gradient of the decay. At this point the gradients of reads and writes contain only the
  /// part through the state; S and dS are those of all pairs:
  ///
  ///     dg_t += Σ_{j<t≤i} S_ij dS_ij
  func gatherDecay(_ count: Int, _ flow: Flow) {
    var before = scores.total[0] * kernels.sum(k, through)
    for t in 0..<count {
      decay[t] = before
      for (keys, gradient) in zip(flow.writes, writes) {
        before += kernels.dot(k, keys + t * k, gradient + t * k)
      }
    }
    var after: Float = 0
    for t in (0..<count).reversed() {
      for (index, read) in scores.reads.enumerated() where t + read.moment.shift < count {
        let place = (t + read.moment.shift) * k
        after += kernels.dot(k, flow.reads[index] + place, reads[index] + place)
      }
      decay[t] += after
    }
    for (index, read) in scores.reads.enumerated() {
      let shift = read.moment.shift
      for write in writes.indices {
        kernels.decay_pairs(
          count - shift, scores.scores(index, write) + shift * ChunkScores.length,
          scoreGradient(index, write), ChunkScores.length, work, decay)
      }
    }
  }

  /// With E the decay between two tokens, dx += (dS ⊙ E) z and dz += (dS ⊙ E)ᵀ x.
  func addPairs(_ count: Int, _ flow: Flow) {
    for (index, read) in scores.reads.enumerated() {
      for write in writes.indices {
        let gradient = scoreGradient(index, write)
        scores.decayPairs(count - read.moment.shift, gradient, flow.decay)
        if read.moment == .afterDecay { clearDiagonal(gradient, count) }
      }
    }
    for (write, keys) in flow.writes.enumerated() {
      pack(keys, count)
      for (index, read) in scores.reads.enumerated() {
        let rows = count - read.moment.shift
        let seen = left(scoreGradient(index, write), rows: rows, depth: rows)
        for block in ChunkScores.blocks(rows) {
          multiply(
            seen, rows: block.tokens, depth: 0..<block.tokens.upperBound,
            into: reads[index] + read.moment.shift * k, adds: true)
        }
      }
    }
    for (index, read) in scores.reads.enumerated() {
      let rows = count - read.moment.shift
      pack(flow.reads[index] + read.moment.shift * k, rows)
      for write in writes.indices {
        let seen = leftTransposed(scoreGradient(index, write), rows: rows, depth: rows)
        for block in ChunkScores.blocks(rows) {
          multiply(
            seen, rows: block.tokens, depth: block.tokens.lowerBound..<rows, into: writes[write],
            adds: true)
        }
      }
    }
  }

  /// Clears the diagonal: a row that reads before the write does not read its own token.
  func clearDiagonal(_ gradient: Rows, _ count: Int) {
    for t in 0..<count { gradient[t * (ChunkScores.length + 1)] = 0 }
  }
}
