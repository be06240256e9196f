import AttentionCPUKernels

/// Gradients between tokens of one chunk, through the scores.
extension ChunkedBackward {
  /// Decays that all channels share: with E the decay between two tokens,
  ///
  ///     dq += (dA ⊙ E) k ,   dk += (dA ⊙ E)ᵀ q ,   dg_t += Σ_{j<t≤i} A_ij dA_ij
  func addPairs(_ count: Int) {
    let length = ChunkScores.length
    if scores.decays {
      gatherDecay(count)
      kernels.decay_pairs(count, scores.scores(0, 0), scoreGradient, length, work, decayGradient)
    }
    scores.decayPairs(count, scoreGradient, tokens.decay)
    pack(tokens.keys, count)
    let sees = left(.rows(scoreGradient, length), count, count)
    for block in ChunkScores.blocks(count) {
      let first = block.tokens.lowerBound
      product.multiply(
        sees.dropping(rows: first), packedRows, rows: block.tokens.count, columns: k,
        depth: 0..<block.tokens.upperBound, into: queryGradient + first * k, stride: k,
        adds: true)
    }
    pack(tokens.queries, count)
    let seen = left(.transposed(scoreGradient, length), count, count)
    for block in ChunkScores.blocks(count) {
      let first = block.tokens.lowerBound
      product.multiply(
        seen.dropping(rows: first), packedRows, rows: block.tokens.count, columns: k,
        depth: first..<count, into: keyGradient + first * k, stride: k, adds: true)
    }
  }

  /// The gradient of a shared decay through the state. The gradients of queries and keys hold just
  /// that part yet.
  private func gatherDecay(_ count: Int) {
    var before = scores.total[0] * kernels.sum(k, through)
    for t in 0..<count {
      decayGradient[t] = before
      before += kernels.dot(k, tokens.keys + t * k, keyGradient + t * k)
    }
    var after: Float = 0
    for t in (0..<count).reversed() {
      after += kernels.dot(k, tokens.queries + t * k, queryGradient + t * k)
      decayGradient[t] += after
    }
  }

  /// Decays by channel: what the queries of a block get from the keys before it, those decayed to
  /// its start. Within the block they decay further.
  private func scoreQueries(_ block: ChunkScores.Block) {
    let first = block.tokens.lowerBound
    pack(scores.earlierRows(0, before: block), first)
    let rows = queryPairs + first * k
    product.multiply(
      left(
        .rows(scoreGradient + first * ChunkScores.length, ChunkScores.length),
        block.tokens.count, first),
      packedRows, rows: block.tokens.count, columns: k, depth: 0..<first, into: rows, stride: k,
      adds: false)
    kernels.decay_from_start(
      block.tokens.count, k, rows, tokens.decay + first * k, 1, rows, work)
  }

  /// Decays by channel.
  func addPairsByChannel(_ count: Int) {
    let length = ChunkScores.length
    let blocks = ChunkScores.blocks(count)
    queryPairs.update(repeating: 0, count: blocks.first.map { $0.tokens.count * k } ?? 0)
    keyPairs.update(repeating: 0, count: count * k)
    for block in blocks.dropFirst() { scoreQueries(block) }
    // From the last block to the first: the gradient of all earlier keys, decayed to the start of
    // the block at work. The block's own keys have got theirs from later blocks by then.
    for block in blocks.reversed() {
      let first = block.tokens.lowerBound
      let (rows, place) = (block.tokens.count, first * k)
      kernels.decay_to_end(
        rows, k, keyPairs + place, tokens.decay + place, 1, keyPairs + place, work)
      kernels.channel_scores_backward(
        rows, k, tokens.queries + place, tokens.keys + place, scores.factors + place,
        scoreGradient + first * (length + 1), length, queryPairs + place, keyPairs + place)
      guard first > 0 else { continue }
      kernels.scale_columns(first, k, scores.blockTotals + block.index * k, keyPairs, k)
      pack(scores.reads[0].blockRows + place, rows)
      product.multiply(
        left(.transposed(scoreGradient + first * length, length), first, rows), packedRows,
        rows: first, columns: k, depth: 0..<rows, into: keyPairs, stride: k, adds: true)
    }
    for d in 0..<k { through[d] *= scores.total[d] }
    kernels.channel_gradients(
      count, k, tokens.queries, tokens.keys, scoreGradient, length, through, queryPairs, keyPairs,
      queryGradient, keyGradient, decayGradient)
  }
}
