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
/// Parameters: `embedding.weight`, `layers.N.mixer_norm.weight`, `layers.N.mixer.…` (see the mixers),
/// `layers.N.feed_forward_norm.weight`, `layers.N.feed_forward.{gate,up,down}_proj.weight`,
/// `norm.weight`, and `head.weight` unless embeddings are tied.
public struct LanguageModel: Sendable {
  public let configuration: LanguageModelConfiguration
  private let embedding: Embedding
  private let blocks: [Block]
  private let norm: RMSNorm
  private let head: Linear?

  /// Draws or reads the parameters with `scope`, which then holds them.
  ///
  /// - Throws: ``ConfigurationError`` or `LayerError`.
  public init(_ configuration: LanguageModelConfiguration, scope: ParameterScope) throws {
    try configuration.validate()
    let hidden = configuration.hiddenSize
    self.configuration = configuration
    embedding = try Embedding(
      count: configuration.vocabularySize, width: hidden, scope: scope["embedding"])
    blocks = try configuration.layers.layers.enumerated().map { index, layer in
      try Block(layer, of: configuration, scope: scope["layers"]["\(index)"])
    }
    norm = try RMSNorm(
      width: hidden, epsilon: configuration.normEpsilon, scope: scope["norm"])
    head =
      configuration.hasTiedEmbeddings
      ? nil
      : try Linear(
        inputs: hidden, outputs: configuration.vocabularySize, scope: scope["head"])
  }

  /// The model with exactly these parameters.
  ///
  /// - Throws: ``ConfigurationError`` or `LayerError`, also if a parameter is left over.
  public init(_ configuration: LanguageModelConfiguration, parameters: Parameters) throws {
    let scope = ParameterScope(parameters, dtype: parameters.tensors.first?.dtype ?? .float32)
    try self.init(configuration, scope: scope)
    try scope.requireAllUsed()
  }

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
    return try states.multiplied(byRowsOf: outputWeight)
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
    return try states(tokens, cumulativeLengths: cumulativeLengths, paddingMask: paddingMask)
      .reshaped([count, configuration.hiddenSize])
      .linearCrossEntropy(weight: outputWeight, targets: targets.reshaped([count]))
  }

  /// The input of the output projection, [batch, length, hidden].
  private func states(
    _ tokens: Tensor, cumulativeLengths: Tensor?, paddingMask: Tensor?
  ) throws -> Tensor {
    let context = try context(
      of: tokens, cumulativeLengths: cumulativeLengths, paddingMask: paddingMask)
    var x = try embedding(tokens)
    var none: (any MixerCache)?
    for block in blocks { x = try block(x, context: context, cache: &none) }
    return try norm(x)
  }

  /// The device of the parameters, on which the model runs.
  public var device: Device { embedding.weight.device }

  /// [vocabulary, hidden]: its product with a hidden state gives the logits.
  private var outputWeight: Tensor { head?.weight ?? embedding.weight }

  /// What the model keeps of the tokens it has read. A copy is an independent continuation.
  public struct Cache: Sendable {
    fileprivate var layers: [(any MixerCache)?]
    public fileprivate(set) var tokenCount = 0

    /// The memory it takes.
    public var byteCount: Int { layers.reduce(0) { $0 + ($1?.byteCount ?? 0) } }
  }

  /// A cache before the first token.
  public func makeCache() -> Cache { Cache(layers: blocks.map { $0.makeCache() }) }

  /// The logits after `tokens`, int32 [batch, length], which follow those in `cache`: [batch, length,
  /// vocabulary], or for the last token only [batch, 1, vocabulary]. Adds `tokens` to `cache`, which
  /// is unchanged if an error is thrown.
  ///
  /// - Throws: `LayerError` or `TensorError`, as when the parameters are tracked.
  public func step(
    _ tokens: Tensor, cache: inout Cache, paddingMask: Tensor? = nil, onlyLast: Bool = false
  ) throws -> Tensor {
    let context = try context(of: tokens, offset: cache.tokenCount, paddingMask: paddingMask)
    guard cache.layers.count == blocks.count else {
      throw LayerError.invalidArgument(
        "cache", was: "of \(cache.layers.count) layers", mustBe: "of \(blocks.count) layers")
    }
    var next = cache
    var x = try embedding(tokens)
    for (index, block) in blocks.enumerated() {
      x = try block(x, context: context, cache: &next.layers[index])
    }
    if onlyLast { x = try x.sliced(1, max(0, context.length - 1)..<context.length) }
    next.tokenCount += context.length
    let result = try norm(x).multiplied(byRowsOf: outputWeight)
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
    return try TokenContext(
      batch: tokens.shape[0], length: tokens.shape[1], offset: offset,
      cumulativeLengths: cumulativeLengths, paddingMask: paddingMask, device: device)
  }
}

/// A layer of a language model: x + mixer(norm(x)), then x + feed-forward(norm(x)).
struct Block: Sendable {
  private let mixerNorm: RMSNorm
  private let mixer: any TokenMixer
  private let feedForwardNorm: RMSNorm
  private let feedForward: FeedForward

  init(
    _ layer: LayerConfiguration, of configuration: LanguageModelConfiguration,
    scope: ParameterScope
  ) throws {
    let hidden = configuration.hiddenSize
    let epsilon = configuration.normEpsilon
    // Each layer adds twice to the residual stream; scaled so, the sum keeps variance 1 (GPT-2).
    let outputScale = 1 / Double(2 * configuration.layers.count).squareRoot()
    mixerNorm = try RMSNorm(width: hidden, epsilon: epsilon, scope: scope["mixer_norm"])
    mixer = try layer.mixer.makeMixer(
      hidden: hidden, outputScale: outputScale, scope: scope["mixer"])
    feedForwardNorm = try RMSNorm(
      width: hidden, epsilon: epsilon, scope: scope["feed_forward_norm"])
    feedForward = try FeedForward(
      width: hidden, inner: configuration.feedForwardSize, outputScale: outputScale,
      scope: scope["feed_forward"])
  }

  func makeCache() -> any MixerCache { mixer.makeCache() }

  func callAsFunction(
    _ x: Tensor, context: TokenContext, cache: inout (any MixerCache)?
  ) throws -> Tensor {
    let mixed = try x + mixer(mixerNorm(x), context: context, cache: &cache)
    return try mixed + feedForward(feedForwardNorm(mixed))
  }
}
