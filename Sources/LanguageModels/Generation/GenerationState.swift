import AttentionLayers
import AttentionTensors

/// A model's state after some tokens, from which any number of continuations begin, in this process or, through a
/// file, in another.
///
///     var generator = try TokenGenerator(model, prompt: prompt, options: options)
///     try generator.state().write(to: "prompt.state", model: model)
///     let state = try GenerationState(path: "prompt.state", model: model)
///     var continuation = try TokenGenerator(model, continuing: state, options: options)
///
/// Continuations have the bits of one that was not interrupted.
public struct GenerationState: Sendable {
  /// All tokens that the model has read.
  public let tokens: [Int32]
  /// How many tokens have been chosen, which is the number of the next random choice.
  public let choiceCount: Int
  let cache: LanguageModel.Cache
  /// The logits after the last token.
  let logits: [Float]

  init(tokens: [Int32], choiceCount: Int, cache: LanguageModel.Cache, logits: [Float]) {
    self.tokens = tokens
    self.choiceCount = choiceCount
    self.cache = cache
    self.logits = logits
  }

  private static let format = "attention state 1"
  private static let formatKey = "format"
  private static let modelKey = "model"
  private static let choicesKey = "choices"
  private static let tokensName = "tokens"
  private static let logitsName = "logits"
  private static let cachePrefix = "cache."

  /// Writes a safetensors file, which is there when it is whole.
  ///
  /// - Parameters:
  ///   - path: the file's path.
  ///   - model: whose state this is.
  /// - Throws: `TensorError`, or `LayerError` if a mixer of another package has a cache that cannot be stored.
  public func write(to path: String, model: LanguageModel) throws {
    var tensors = [
      (name: Self.tokensName, tensor: try Tensor(tokens)),
      (name: Self.logitsName, tensor: try Tensor(logits)),
    ]
    for (name, tensor) in try cache.contents().sorted(by: { $0.key < $1.key }) {
      tensors.append((Self.cachePrefix + name, try tensor.moved(to: .cpu)))
    }
    try Safetensors.write(
      tensors,
      metadata: [
        Self.formatKey: Self.format, Self.modelKey: try ModelProbe(model).fingerprint,
        Self.choicesKey: "\(choiceCount)",
      ], to: path)
  }

  /// Reads a file that ``write(to:model:)`` has written.
  ///
  /// - Throws: ``GenerationError/invalidArgument(_:was:mustBe:)`` if it is no such file or another model's,
  ///   `TensorError` if it cannot be read.
  public init(path: String, model: LanguageModel) throws {
    let file = try SafetensorsFile(path: path)
    guard file.metadata[Self.formatKey] == Self.format,
      let choices = file.metadata[Self.choicesKey].flatMap({ Int($0) }), choices >= 0
    else {
      throw GenerationError.invalidArgument(
        path, was: "no state", mustBe: "a file that generation has saved")
    }
    let probe = try ModelProbe(model)
    guard file.metadata[Self.modelKey] == probe.fingerprint else {
      throw GenerationError.invalidArgument(
        path, was: "the state of another model",
        mustBe: "one of this model, in its dtype, on such a processor or device")
    }
    do {
      let numbers = try file.tensor(named: Self.tokensName)
      let logits = try file.tensor(named: Self.logitsName)
      let vocabulary = model.vocabularySize
      guard numbers.rank == 1, numbers.dtype == .int32, logits.shape == [vocabulary],
        logits.dtype == .float32
      else {
        throw GenerationError.invalidArgument(
          path, was: "a state of \(numbers.summary) and \(logits.summary)",
          mustBe: "one of int32 tokens and \(vocabulary) logits")
      }
      let tokens = try numbers.elements(as: Int32.self)
      guard !tokens.isEmpty, tokens.allSatisfy({ $0 >= 0 && Int($0) < vocabulary }) else {
        throw GenerationError.invalidArgument(
          path, was: "a state of tokens that are none", mustBe: "of tokens in 0..<\(vocabulary)")
      }
      var contents: [String: Tensor] = [:]
      for name in file.names where name.hasPrefix(Self.cachePrefix) {
        contents[String(name.dropFirst(Self.cachePrefix.count))] = try file.tensor(named: name)
      }
      self.init(
        tokens: tokens, choiceCount: choices,
        cache: try probe.cache.restored(from: contents, tokenCount: tokens.count),
        logits: try logits.elements(as: Float.self))
    } catch let error as LayerError {
      throw GenerationError.invalidArgument(
        path, was: "damaged: \(error)", mustBe: "a file that generation has saved")
    }
  }
}

/// What a model computes from some tokens: tells models apart, also by what they compute in and on.
private struct ModelProbe {
  /// The cache after the tokens.
  let cache: LanguageModel.Cache
  /// A number of the logits' bits, in hexadecimal digits.
  let fingerprint: String

  private static let length = 8

  init(_ model: LanguageModel) throws {
    var cache = model.makeCache()
    let tokens = (0..<Self.length).map { Int32($0 * (model.vocabularySize - 1) / Self.length) }
    let logits = try model.step(Tensor(tokens, [1, tokens.count]), cache: &cache)
    // FNV-1a
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for number in try logits.cast(to: .float32).elements(as: Float.self) {
      hash = (hash ^ UInt64(number.bitPattern)) &* 0x0000_0100_0000_01B3
    }
    self.cache = cache
    fingerprint = String(hash, radix: 16)
  }
}
