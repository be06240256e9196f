import AttentionLayers
import AttentionTensors

/// A causal language model: embedding, blocks, norm, and the projection to logits.
///
/// The model runs on the device of its parameters. Tokens, targets, lengths and masks may always be on
/// the CPU: they are checked there and copied.
///
/// The model is a value made of parameters. A training step builds it anew from tracked ones:
///
///     let tracked = parameters.tracked()
///     let model = try LanguageModel(configuration, parameters: tracked)
///     let loss = try model.loss(tokens: inputs, targets: targets)
///     let gradients = try loss.gradients(of: tracked.tensors)
///
/// The parameters' paths are those of its ``ModelDescription``. A ``LanguageModelConfiguration`` names them
/// `embedding.weight`, `layers.N.mixer_norm.weight`, `layers.N.mixer.…` (see the mixers),
/// `layers.N.feed_forward_norm.weight`, `layers.N.feed_forward.{gate,up,down}_proj.weight`,
/// `norm.weight`, and `head.weight` unless embeddings are tied.
public struct LanguageModel: Sendable {
  public let description: ModelDescription
  private let embedding: Embedding
  private let embeddingNorm: Norm?
  private let layers: [[Step]]
  private let norm: Norm
  private let head: Linear?
  private let layerBounds: LayerBounds?

  /// Draws or reads the parameters with `scope`, which then holds them.
  ///
  /// - Throws: `LayerError`.
  public init(_ description: ModelDescription, scope: ParameterScope) throws {
    let hidden = description.hiddenSize
    self.description = description
    func norm(_ named: Named<NormOptions>) throws -> Norm {
      try Norm(named.part, width: hidden, scope: scope[named.name])
    }
    embedding = try Embedding(
      count: description.vocabularySize, width: hidden, scope: scope[description.embedding])
    embeddingNorm = try description.embeddingNorm.map(norm)
    layerBounds = try description.layerBounds.map {
      try LayerBounds(
        layers: description.layers.count, width: $0.part, path: $0.name, scope: scope)
    }
    // Each step adds to the residual stream; scaled so, the sum keeps variance 1 (GPT-2).
    let steps = description.layers.reduce(0) { $0 + $1.steps.count }
    let outputScale = 1 / Double(max(1, steps)).squareRoot()
    layers = try description.layers.enumerated().map { index, layer in
      try layer.steps.map {
        try Step(
          $0, hidden: hidden, outputScale: outputScale,
          scope: scope[description.layerList]["\(index)"])
      }
    }
    self.norm = try norm(description.norm)
    head = try description.head.map {
      try Linear(inputs: hidden, outputs: description.vocabularySize, scope: scope[$0])
    }
  }

  /// The model of a configuration of this package.
  ///
  /// - Throws: ``ConfigurationError`` or `LayerError`.
  public init(_ configuration: LanguageModelConfiguration, scope: ParameterScope) throws {
    try configuration.validate()
    try self.init(configuration.description, scope: scope)
  }

  /// The model with exactly these parameters.
  ///
  /// - Throws: ``ConfigurationError`` or `LayerError`, also if a parameter is left over.
  public init(_ configuration: LanguageModelConfiguration, parameters: Parameters) throws {
    let scope = ParameterScope(parameters, dtype: parameters.tensors.first?.dtype ?? .float32)
    try self.init(configuration, scope: scope)
    try scope.requireAllUsed()
  }

  /// The model of a description with exactly these parameters.
  ///
  /// - Throws: `LayerError`, also if a parameter is left over.
  public init(_ description: ModelDescription, parameters: Parameters) throws {
    let scope = ParameterScope(parameters, dtype: parameters.tensors.first?.dtype ?? .float32)
    try self.init(description, scope: scope)
    try scope.requireAllUsed()
  }

  /// The number of different tokens.
  public var vocabularySize: Int { description.vocabularySize }

  /// The logits of the token after each: int32 [batch, length] → [batch, length, vocabulary].
  ///
  /// - Parameters:
  ///   - tokens: `int32 [batch, length]`.
  ///   - cumulativeLengths: `int32 [sequences + 1]` for packed sequences of a batch of 1.
  ///   - paddingMask: `bool [batch, length]`, false for tokens that are padding.
  /// - Throws: `LayerError` or `TensorError`.
  public func callAsFunction(
    _ tokens: Tensor, cumulativeLengths: Tensor? = nil, paddingMask: Tensor? = nil
  ) throws -> Tensor {
    let states = try states(
      tokens, cumulativeLengths: cumulativeLengths, paddingMask: paddingMask)
    return try logits(of: states)
  }

  /// The logits of states after the last norm, [..., hidden] → [..., vocabulary].
  private func logits(of states: Tensor) throws -> Tensor {
    let logits = try states.multiplied(byRowsOf: outputWeight).scaled(by: description.logitScale)
    guard let cap = description.logitSoftcap else { return logits }
    return try (logits * (1 / cap)).tanh() * cap
  }

  /// The mean of −log p(target) over tokens, in nats: a float32 scalar, 0 if no target counts.
  ///
  /// - Parameters:
  ///   - tokens: `int32 [batch, length]`.
  ///   - targets: the token after each, `int32 [batch, length]`; negative ones do not count.
  ///   - cumulativeLengths: `int32 [sequences + 1]` for packed sequences of a batch of 1.
  ///   - paddingMask: `bool [batch, length]`, false for tokens that are padding.
  /// - Throws: `LayerError` or `TensorError`.
  public func loss(
    tokens: Tensor, targets: Tensor, cumulativeLengths: Tensor? = nil, paddingMask: Tensor? = nil
  ) throws -> Tensor {
    guard targets.shape == tokens.shape, targets.dtype == .int32 else {
      throw LayerError.invalidArgument(
        "targets", was: "\(targets.summary)", mustBe: "int32 \(tokens.shape), as the tokens")
    }
    let count = targets.elementCount
    let states = try states(
      tokens, cumulativeLengths: cumulativeLengths, paddingMask: paddingMask
    ).reshaped([count, description.hiddenSize])
    let flat = try targets.reshaped([count])
    guard description.logitSoftcap == nil else {
      return try logits(of: states).crossEntropy(flat)
    }
    return try states.scaled(by: description.logitScale)
      .linearCrossEntropy(weight: outputWeight, targets: flat)
  }

  /// The input of the output projection, [batch, length, hidden].
  private func states(
    _ tokens: Tensor, cumulativeLengths: Tensor?, paddingMask: Tensor?
  ) throws -> Tensor {
    let context = try context(
      of: tokens, cumulativeLengths: cumulativeLengths, paddingMask: paddingMask)
    var cache = Cache(layers: layers.map { $0.map(\.noCaches) })
    return try norm(states(tokens, context, &cache))
  }

  /// The states before the last norm. Adds the tokens to the caches.
  private func states(_ tokens: Tensor, _ context: TokenContext, _ cache: inout Cache) throws
    -> Tensor
  {
    var x = try embedded(tokens)
    for (index, steps) in layers.enumerated() {
      for (number, step) in steps.enumerated() {
        x = try step(x, context: context, caches: &cache.layers[index][number])
      }
    }
    return x
  }

  private func embedded(_ tokens: Tensor) throws -> Tensor {
    let x = try embedding(tokens).scaled(by: description.embeddingScale)
    return try embeddingNorm?(x) ?? x
  }

  /// The device of the parameters, on which the model runs.
  public var device: Device { embedding.weight.device }

  /// [vocabulary, hidden]: its product with a hidden state gives the logits.
  private var outputWeight: Tensor { head?.weight ?? embedding.weight }

  /// What the model keeps of the tokens it has read. A copy is an independent continuation.
  public struct Cache: Sendable {
    /// For each part of each step of each layer.
    fileprivate var layers: [[[(any MixerCache)?]]]
    public fileprivate(set) var tokenCount = 0
    /// Holds the states instead of ``layers`` while single tokens are read by it.
    fileprivate var program: DecodingProgram?
    /// Why there is no program.
    fileprivate var objection: DecodingObjection?

    fileprivate init(layers: [[[(any MixerCache)?]]]) { self.layers = layers }

    /// The name of a part's tensor in files.
    private static func prefix(_ layer: Int, _ step: Int, _ part: Int) -> String {
      "layers.\(layer).steps.\(step).parts.\(part)."
    }

    /// All tensors of all parts, by names that tell the part.
    ///
    /// - Throws: `LayerError` if a mixer's cache is none that can be stored.
    func contents() throws -> [String: Tensor] {
      var (all, own): ([String: Tensor], Cache) = ([:], self)
      try own.leaveProgram()
      try own.forEachCache { layer, step, part, cache in
        for (name, tensor) in try Self.storable(cache).contents().tensors {
          all[Self.prefix(layer, step, part) + name] = tensor
        }
      }
      return all
    }

    /// A cache of the same model with other contents.
    ///
    /// - Parameters:
    ///   - contents: of a cache of the model.
    ///   - tokenCount: how many tokens it has read.
    /// - Throws: `LayerError` if they are not such.
    func restored(from contents: [String: Tensor], tokenCount: Int) throws -> Cache {
      var (restored, used) = (self, 0)
      restored.program = nil
      try forEachCache { layer, step, part, cache in
        let prefix = Self.prefix(layer, step, part)
        let own = contents.filter { $0.key.hasPrefix(prefix) }
        used += own.count
        restored.layers[layer][step][part] = try Self.storable(cache).restored(
          from: CacheContents(
            tokenCount: tokenCount,
            tensors: Dictionary(
              uniqueKeysWithValues: own.map { (String($0.dropFirst(prefix.count)), $1) })))
      }
      guard used == contents.count else {
        throw LayerError.invalidArgument(
          "contents", was: "of \(contents.count) tensors", mustBe: "of the model's \(used)")
      }
      restored.tokenCount = tokenCount
      return restored
    }

    private static func storable(_ cache: any MixerCache) throws -> any StorableMixerCache {
      guard let storable = cache as? any StorableMixerCache else {
        throw LayerError.invalidArgument(
          "cache", was: "\(type(of: cache))", mustBe: "a StorableMixerCache, to be kept in a file")
      }
      return storable
    }

    private func forEachCache(
      _ body: (Int, Int, Int, any MixerCache) throws -> Void
    ) rethrows {
      for (layer, steps) in layers.enumerated() {
        for (step, parts) in steps.enumerated() {
          for (part, cache) in parts.enumerated() {
            if let cache { try body(layer, step, part, cache) }
          }
        }
      }
    }

    /// The memory it takes.
    public var byteCount: Int {
      program?.byteCount ?? layers.joined().joined().reduce(0) { $0 + ($1?.byteCount ?? 0) }
    }
  }

  /// A cache before the first token.
  public func makeCache() -> Cache {
    Cache(layers: layers.map { $0.map { $0.makeCaches() } })
  }

  /// The logits after `tokens`, int32 [batch, length], which follow those in `cache`: [batch, length,
  /// vocabulary], or for the last token only [batch, 1, vocabulary]. Adds `tokens` to `cache`, which
  /// is unchanged if an error is thrown.
  ///
  /// - Throws: `LayerError` or `TensorError`, as when the parameters are tracked.
  public func step(
    _ tokens: Tensor, cache: inout Cache, paddingMask: Tensor? = nil, onlyLast: Bool = false
  ) throws -> Tensor {
    guard cache.layers.count == layers.count else {
      throw LayerError.invalidArgument(
        "cache", was: "of \(cache.layers.count) layers", mustBe: "of \(layers.count) layers")
    }
    if paddingMask == nil, let logits = try decode(tokens, &cache) { return logits }
    let context = try context(of: tokens, offset: cache.tokenCount, paddingMask: paddingMask)
    var next = cache
    try next.leaveProgram()
    var x = try states(tokens, context, &next)
    if onlyLast { x = try x.sliced(1, max(0, context.length - 1)..<context.length) }
    next.tokenCount += context.length
    let result = try logits(of: norm(x))
    cache = next
    return result
  }

  /// The logits after one token, float32 [1, 1, vocabulary], in one launch on a GPU; nil where that is not
  /// possible.
  private func decode(_ tokens: Tensor, _ cache: inout Cache) throws -> Tensor? {
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
  /// On the CPU they have the bits that ``step(_:cache:paddingMask:onlyLast:)`` gives for one token after the other, unlike those of one call for all
  /// tokens. The projections of exact attention, feed-forward layers and the vocabulary are one product for all
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

  private func context(
    of tokens: Tensor, offset: Int = 0, cumulativeLengths: Tensor? = nil, paddingMask: Tensor?
  ) throws -> TokenContext {
    guard tokens.rank == 2, tokens.dtype == .int32 else {
      throw LayerError.invalidArgument(
        "tokens", was: "\(tokens.summary)", mustBe: "int32 [batch, length]")
    }
    let context = try TokenContext(
      batch: tokens.shape[0], length: tokens.shape[1], offset: offset,
      cumulativeLengths: cumulativeLengths, paddingMask: paddingMask, device: device)
    try layerBounds?.share(in: context)
    return context
  }
}

extension LanguageModel.Cache {
  /// Brings the states back from the program.
  fileprivate mutating func leaveProgram() throws {
    guard let program else { return }
    var states = try program.caches()[...]
    for layer in layers.indices {
      for step in layers[layer].indices {
        for part in layers[layer][step].indices { layers[layer][step][part] = states.removeFirst() }
      }
    }
    self.program = nil
  }
}
