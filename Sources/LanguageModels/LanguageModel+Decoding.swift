import AttentionLayers
import AttentionTensors

// One token at a time, on a GPU as one kernel.
extension LanguageModel {
  /// The logits after one token, float32 [1, 1, vocabulary], in one launch on a GPU; nil where that is not
  /// possible.
  func decode(_ tokens: Tensor, _ cache: inout Cache) throws -> Tensor? {
    guard device != .cpu, tokens.shape == [1, 1], tokens.dtype == .int32, tokens.device == .cpu,
      cache.objection == nil
    else { return nil }
    let hasRoom = cache.program.map { $0.tokenCount < $0.capacity } ?? false
    // A copy of the cache is an independent continuation.
    if !hasRoom || !isKnownUniquelyReferenced(&cache.program) {
      var own = cache
      try own.leaveProgram()
      do {
        own.program = try program(after: own)
        cache = own
      } catch let objection as DecodingObjection {
        cache.objection = objection
        return nil
      }
    }
    let logits = try cache.program?.step(tokens.elements(as: Int32.self)[0])
    cache.tokenCount += 1
    return logits
  }

  /// The model's step of one token as one kernel.
  ///
  /// - Throws: `DecodingObjection` if the kernel does not have what a layer needs.
  private func program(after cache: Cache) throws -> DecodingProgram {
    guard embeddingNorm == nil else { throw DecodingObjection("embeddings are normalised") }
    guard layerBounds == nil else { throw DecodingObjection("layers have bounds") }
    var builder = try DecodingBuilder(
      embedding, scale: description.embeddingScale, tokenCount: cache.tokenCount)
    for (steps, caches) in zip(layers, cache.layers) {
      for (step, caches) in zip(steps, caches) { try step.add(to: &builder, after: caches) }
    }
    return try builder.program(
      norm: norm, weight: outputWeight, scale: description.logitScale,
      softcap: description.logitSoftcap)
  }

  /// Why single tokens are not read by one kernel on a GPU; nil if they are.
  ///
  /// - Throws: what the GPU reports.
  public func decodingObjection() throws -> String? {
    guard device != .cpu else { return "the model is on the CPU" }
    do {
      _ = try program(after: makeCache())
      return nil
    } catch let objection as DecodingObjection {
      return objection.description
    }
  }
}
