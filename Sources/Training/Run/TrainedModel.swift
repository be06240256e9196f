import AttentionLanguageModels
import AttentionLayers
import AttentionTensors

/// What a run trains: the parts of the model, the configuration that its checkpoints have, the tokenizer of its text,
/// and where its first parameters come from.
struct TrainedModel: Sendable {
  private enum Origin: Sendable {
    case drawn
    case published(PublishedModel)
    /// The folder of a checkpoint of this package.
    case checkpoint(String)
  }

  let description: ModelDescription
  let format: Checkpoint.Format
  let tokenizer: ModelTokenizer
  private let origin: Origin

  /// Reads what the source says, but not yet its weights.
  ///
  /// - Parameter folder: the folder that a relative path starts at.
  /// - Throws: `ConfigurationError` if the source is invalid, or what opening the folder throws.
  init(_ source: ModelSource, relativeTo folder: String) throws {
    try source.validate(path: [TrainingConfiguration.CodingKeys.model])
    switch source {
    case .configuration(let configuration):
      guard configuration.vocabularySize == ByteTokenizer.vocabularySize else {
        throw ConfigurationError.invalidValue(
          "model.vocabulary_size", was: "\(configuration.vocabularySize)",
          mustBe: "\(ByteTokenizer.vocabularySize), one token per byte")
      }
      self.init(
        configuration.description, .own(configuration), .bytes, origin: .drawn)
    case .folder(let path):
      let named = path.hasPrefix("/") ? path : folder + "/" + path
      self =
        try CheckpointStore(folder: named).readLatest(Self.init(folder:)) ?? Self(folder: named)
    }
  }

  private init(
    _ description: ModelDescription, _ format: Checkpoint.Format, _ tokenizer: ModelTokenizer,
    origin: Origin
  ) {
    (self.description, self.format) = (description, format)
    (self.tokenizer, self.origin) = (tokenizer, origin)
  }

  private init(folder: String) throws {
    let json = try JSONValue(json5File: folder + "/" + Checkpoint.configurationFile)
    let origin: Origin
    let (description, format): (ModelDescription, Checkpoint.Format)
    if PublishedModel.isPublished(json) {
      let model = try PublishedModel(folder: folder)
      (description, format) = (model.description, .published(model.configuration(as: .float32)))
      origin = .published(model)
    } else {
      let checkpoint = try Checkpoint(folder: folder)
      (description, format) = (checkpoint.description, checkpoint.format)
      origin = .checkpoint(folder)
    }
    let tokenizer = try ModelTokenizer(of: format, folder: folder, fitting: description)
    self.init(description, format, tokenizer, origin: origin)
  }

  /// The parameters that training starts from, float32 on the CPU.
  ///
  /// - Parameter seed: draws those of a new model.
  /// - Throws: `CheckpointError` or `TensorError.file(path:reason:)` if a folder's cannot be read.
  func firstParameters(seed: UInt64) throws -> Parameters {
    switch origin {
    case .drawn:
      // Drawn on the CPU, so that a seed gives the same weights on every device.
      let scope = ParameterScope(seed: seed)
      _ = try LanguageModel(description, scope: scope)
      return scope.parameters
    case .published(let model): return try model.checkpoint(dtype: .float32).parameters
    case .checkpoint(let folder):
      return try Checkpoint(folder: folder, dtype: .float32).parameters
    }
  }

  /// The model with these parameters.
  func model(_ parameters: Parameters) throws -> LanguageModel {
    try LanguageModel(description, parameters: parameters)
  }

  /// A checkpoint with these parameters.
  func checkpoint(_ parameters: Parameters) -> Checkpoint {
    Checkpoint(description: description, format: format, parameters: parameters)
  }

  /// Writes what a folder of the model has besides configuration and weights: the files of its tokenizer.
  func copyOtherFiles(to folder: String) throws {
    if case .published(let model) = origin { try model.copyOtherFiles(to: folder) }
  }
}
