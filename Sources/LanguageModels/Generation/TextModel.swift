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
  let folder: String
  /// The tokenizer of its folder.
  public let tokenizer: ModelTokenizer

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
    self.folder = folder
    tokenizer = try ModelTokenizer(
      of: checkpoint.format, folder: folder, fitting: checkpoint.description)
    model = try checkpoint.model()
  }

  /// Tokens that end a text.
  public var endTokens: Set<Int32> { tokenizer.endTokens }

  /// The tokens of a prompt, after those that begin a text.
  ///
  /// - Throws: `TokenizerError`.
  public func tokens(of prompt: String) throws -> [Int32] {
    try tokenizer.tokens(ofPrompt: prompt)
  }

  /// The tokens of a conversation that a chat template has written: its special tokens are in the text.
  ///
  /// - Throws: `TokenizerError`.
  public func tokens(ofConversation text: String) throws -> [Int32] {
    try tokenizer.tokens(ofConversation: text)
  }

  /// A decoder of the tokens that follow, without those that mark beginnings and ends.
  public func decoder() -> any TokenDecoder { tokenizer.decoder() }

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
