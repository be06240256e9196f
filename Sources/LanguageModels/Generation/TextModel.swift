import AttentionLayers
import AttentionTensors
import AttentionTokenizers

/// A language model with the tokenizer of its folder.
///
///     let model = try TextModel(folder: "Qwen3-0.6B", device: .cuda(0))
///     var generator = try TokenGenerator(
///       model.model, prompt: model.tokens(of: "Once"), options: model.options(maximumTokens: 100))
///     var text = model.decoder()
///     while let token = try generator.next() { print(text.append(token), terminator: "") }
///     print(text.finish())
///
/// A model of this package has bytes as tokens, a published one the tokenizer whose file lies beside it.
public struct TextModel: Sendable {
  public let model: LanguageModel
  /// Tokens that end a text.
  public let endTokens: Set<Int32>
  private let tokenizer: Tokenizing

  private enum Tokenizing: Sendable {
    case bytes(ByteTokenizer)
    case published(TextTokenizer)
  }

  /// Opens a folder.
  ///
  /// - Parameters:
  ///   - folder: of a checkpoint, or of a published model.
  ///   - dtype: what the model computes in; nil for that of its file.
  ///   - device: where it runs.
  /// - Throws: what ``Checkpoint/init(folder:dtype:device:)`` throws, `TokenizerError`, or
  ///   ``GenerationError/invalidArgument(_:was:mustBe:)`` if the tokenizer does not fit the model.
  public init(folder: String, dtype: DType? = nil, device: Device = .cpu) throws {
    let checkpoint = try Checkpoint(folder: folder, dtype: dtype, device: device)
    let vocabulary = checkpoint.description.vocabularySize
    let own: Int
    switch checkpoint.format {
    case .own:
      own = ByteTokenizer.vocabularySize
      tokenizer = .bytes(ByteTokenizer())
      endTokens = []
      guard vocabulary == own else {
        throw GenerationError.invalidArgument(
          "the model's vocabulary_size", was: "\(vocabulary)", mustBe: "\(own), one token a byte")
      }
    case .published:
      let opened = try TextTokenizer(path: folder)
      own = opened.vocabularySize
      tokenizer = .published(opened)
      endTokens = try PublishedModel.endTokens(of: folder)
    }
    guard own <= vocabulary else {
      throw GenerationError.invalidArgument(
        "the tokenizer of \(folder)", was: "one of \(own) tokens",
        mustBe: "of at most \(vocabulary), as the model's embedding has")
    }
    model = try checkpoint.model()
  }

  /// The tokens of a prompt, after those that begin a text.
  ///
  /// - Throws: `TokenizerError`.
  public func tokens(of prompt: String) throws -> [Int32] {
    switch tokenizer {
    case .bytes(let bytes): return bytes.encode(prompt)
    case .published(let tokenizer):
      var tokens = try tokenizer.encode(
        prompt, options: TextTokenizer.EncodingOptions(marksEnds: true))
      // What ends a text does not begin its continuation.
      while let last = tokens.last, endTokens.contains(last), tokens.count > 1 {
        tokens.removeLast()
      }
      return tokens
    }
  }

  /// A decoder of the tokens that follow, without those that mark beginnings and ends.
  public func decoder() -> any TokenDecoder {
    switch tokenizer {
    case .bytes(let bytes): bytes.decoder()
    case .published(let tokenizer): tokenizer.decoder(skipsSpecialTokens: true)
    }
  }

  /// Options that end generation where the model ends a text.
  public func options(maximumTokens: Int? = nil) -> GenerationOptions {
    var options = GenerationOptions(maximumTokens: maximumTokens)
    options.endTokens = endTokens
    return options
  }
}

extension PublishedModel {
  /// The tokens that end a text: `eos_token_id` of `generation_config.json`, or of `config.json`.
  static func endTokens(of folder: String) throws -> Set<Int32> {
    for name in ["generation_config.json", Checkpoint.configurationFile] {
      guard let json = try? JSONValue(json5File: folder + "/" + name),
        case .object(let members) = json
      else { continue }
      let tokens: [JSONValue] =
        switch members["eos_token_id"] {
        case .array(let tokens)?: tokens
        case let token?: [token]
        case nil: []
        }
      let numbers = tokens.compactMap { token in
        if case .integer(let number) = token { Int32(exactly: number) } else { nil }
      }
      if !numbers.isEmpty { return Set(numbers) }
    }
    return []
  }
}
