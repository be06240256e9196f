import AttentionLayers
import AttentionTensors

// Several tokens, of several sequences or of one, each with the bits of its step alone.
extension LanguageModel {
  /// The logits after one more token of each of several sequences: [sequences, vocabulary]. Adds the tokens to the
  /// caches, which are unchanged if an error is thrown.
  ///
  /// On the CPU the projections are one product for all sequences, and each row has the bits that
  /// ``step(_:cache:paddingMask:onlyLast:)`` gives for its sequence alone.
  ///
  /// - Parameters:
  ///   - tokens: one for each sequence, below the vocabulary size.
  ///   - caches: of as many sequences, each of any length.
  /// - Throws: `LayerError` or `TensorError`.
  public func stepTogether(_ tokens: [Int32], caches: inout [Cache]) throws -> Tensor {
    guard tokens.count == caches.count, !tokens.isEmpty else {
      throw LayerError.invalidArgument(
        "tokens", was: "\(tokens.count)", mustBe: "one for each of \(caches.count) caches")
    }
    let sequences = try SequenceBatch(tokenCounts: caches.map(\.tokenCount), device: device)
    return try step(tokens, sequences, &caches)
  }

  /// The logits after each of several tokens that follow those in `cache`, [tokens, vocabulary], and the cache after
  /// each.
  ///
  /// On the CPU they have the bits that ``step(_:cache:paddingMask:onlyLast:)`` gives for one token
  /// after the other, unlike those of one call for all tokens. The projections of exact attention, feed-forward layers and the vocabulary are one product for all
  /// tokens; recurrent layers read them one after the other.
  ///
  /// - Parameters:
  ///   - tokens: at least one, each below the vocabulary size.
  ///   - cache: what has been read before.
  /// - Throws: `LayerError` or `TensorError`.
  public func stepThrough(_ tokens: [Int32], after cache: Cache) throws -> (
    logits: Tensor, caches: [Cache]
  ) {
    guard !tokens.isEmpty else {
      throw LayerError.invalidArgument("tokens", was: "none", mustBe: "at least one")
    }
    let sequences = try SequenceBatch(
      tokenCounts: tokens.indices.map { cache.tokenCount + $0 }, isOneSequence: true,
      device: device)
    var caches = tokens.indices.map { index in
      var cache = cache
      cache.tokenCount += index
      return cache
    }
    let logits = try step(tokens, sequences, &caches)
    return (logits, caches)
  }

  private func step(
    _ tokens: [Int32], _ sequences: SequenceBatch, _ caches: inout [Cache]
  ) throws -> Tensor {
    if let other = caches.first(where: { $0.layers.count != layers.count }) {
      throw LayerError.invalidArgument(
        "caches", was: "with one of \(other.layers.count) layers",
        mustBe: "of \(layers.count) layers")
    }
    for context in sequences.contexts { try layerBounds?.share(in: context) }
    return try RowByRow.products {
      var next = caches
      for sequence in next.indices { try next[sequence].leaveProgram() }
      var x = try embedded(Tensor(tokens, [tokens.count, 1]))
      for (index, steps) in layers.enumerated() {
        for (number, step) in steps.enumerated() {
          var ofStep = next.map { $0.layers[index][number] }
          x = try step.together(x, sequences, caches: &ofStep)
          for sequence in next.indices { next[sequence].layers[index][number] = ofStep[sequence] }
        }
      }
      let result = try logits(of: norm(x))
      for sequence in next.indices { next[sequence].tokenCount += 1 }
      caches = next
      return try result.reshaped([tokens.count, vocabularySize])
    }
  }
}
