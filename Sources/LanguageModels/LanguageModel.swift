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
  let embedding: Embedding
  let embeddingNorm: Norm?
  let layers: [[Step]]
  let norm: Norm
  private let head: Linear?
  let layerBounds: LayerBounds?

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
  func logits(of states: Tensor) throws -> Tensor {
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

  func embedded(_ tokens: Tensor) throws -> Tensor {
    let x = try embedding(tokens).scaled(by: description.embeddingScale)
    return try embeddingNorm?(x) ?? x
  }

  /// The device of the parameters, on which the model runs.
  public var device: Device { embedding.weight.device }

  /// [vocabulary, hidden]: its product with a hidden state gives the logits.
  var outputWeight: Tensor { head?.weight ?? embedding.weight }

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
