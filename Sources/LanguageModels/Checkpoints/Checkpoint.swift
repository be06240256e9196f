import AttentionCUDA
import AttentionLayers
import AttentionTensors
import FoundationEssentials

/// A model on disk: a folder with `config.json` and `model.safetensors`, whose tensors have the
/// parameters' paths as names.
///
///     try Checkpoint(configuration: configuration, parameters: parameters).write(to: "model")
///     let model = try Checkpoint(folder: "model").model()
///
/// The configuration is one of this package, or that of a published model (``PublishedModel``), which is written
/// as it was read.
public struct Checkpoint: Sendable {
  /// Whose configuration a checkpoint has.
  public enum Format: Hashable, Sendable {
    case own(LanguageModelConfiguration)
    /// The text of a published model's `config.json`.
    case published(String)
  }

  public let format: Format
  /// What the model consists of.
  public let description: ModelDescription
  public let parameters: Parameters

  /// The files of the folder.
  public static let configurationFile = "config.json"
  public static let weightsFile = "model.safetensors"

  public init(configuration: LanguageModelConfiguration, parameters: Parameters) {
    self.init(
      description: configuration.description, format: .own(configuration), parameters: parameters)
  }

  package init(description: ModelDescription, format: Format, parameters: Parameters) {
    self.description = description
    self.format = format
    self.parameters = parameters
  }

  /// Reads the folder.
  ///
  /// - Parameters:
  ///   - folder: of this package, or of a published model.
  ///   - dtype: that of the parameters; nil for that of the file.
  ///   - device: where they go.
  /// - Throws: ``ConfigurationError`` or `TensorError.file(path:reason:)`, which names a missing or
  ///   damaged file; ``CheckpointError``, which names the folder, if the configuration is invalid, or
  ///   a tensor is missing, left over, or differs in shape or dtype from what the model needs.
  public init(folder: String, dtype: DType? = nil, device: Device = .cpu) throws {
    let configuration = try JSONValue(json5File: folder + "/" + Self.configurationFile)
    guard !PublishedModel.isPublished(configuration) else {
      self = try PublishedModel(folder: folder).checkpoint(dtype: dtype, device: device)
      return
    }
    do {
      let own = try Self(reading: folder, configuration)
      self.init(
        description: own.description, format: own.format,
        parameters: try own.parameters.mapping {
          try $0.cast(to: dtype ?? $0.dtype).moved(to: device)
        })
    } catch let error as LayerError {
      throw CheckpointError(folder: folder, reason: .layers(error))
    } catch let error as ConfigurationError where !error.namesFile {
      throw CheckpointError(folder: folder, reason: .configuration(error))
    }
  }

  private init(reading folder: String, _ json: JSONValue) throws {
    let configuration = try json.decoded(as: LanguageModelConfiguration.self)
    let file = try SafetensorsFile(path: folder + "/" + Self.weightsFile)
    let stored = try Parameters(
      file.names.map { (path: $0, tensor: try file.tensor(named: $0)) })
    // In the order of the model, not that of the file.
    let scope = ParameterScope(stored, dtype: stored.tensors.first?.dtype ?? .float32)
    _ = try LanguageModel(configuration, scope: scope)
    try scope.requireAllUsed()
    self.init(configuration: configuration, parameters: scope.parameters)
  }

  /// The configuration, if it is one of this package.
  public var configuration: LanguageModelConfiguration? {
    if case .own(let configuration) = format { configuration } else { nil }
  }

  /// This checkpoint with the parameters on `device`.
  public func moved(to device: Device) throws -> Checkpoint {
    replacing(try parameters.moved(to: device))
  }

  /// This checkpoint with other parameters.
  public func replacing(_ parameters: Parameters) -> Checkpoint {
    Checkpoint(description: description, format: format, parameters: parameters)
  }

  /// The model of this configuration and these parameters.
  ///
  /// - Throws: `LayerError`.
  public func model() throws -> LanguageModel {
    try LanguageModel(description, parameters: parameters)
  }

  /// Writes the folder at `path`, replacing one that exists: it is written under a temporary name and
  /// renamed, so there is always a complete one. A folder that holds something else is not replaced.
  /// Equal checkpoints give equal bytes.
  ///
  /// - Parameters:
  ///   - path: the folder's name.
  ///   - adding: writes more files into the folder whose path it is given.
  /// - Throws: `TensorError.file(path:reason:)`, or what `adding` throws; whatever is at `path` is
  ///   then unchanged.
  public func write(to path: String, adding: (String) throws -> Void = { _ in }) throws {
    // Names that are not UTF-8 count too: a folder that has only such names is not empty.
    let present = (try? Folder.names(in: Array(path.utf8))) ?? []
    guard present.isEmpty || present.contains(Array(Self.configurationFile.utf8)) else {
      throw TensorError.file(
        path: path, reason: "it is a folder without \(Self.configurationFile), so it is kept")
    }
    try AtomicFolder.write(to: path) { folder in
      try Safetensors.write(
        zip(parameters.paths, parameters.tensors).map { (name: $0, tensor: $1) },
        to: folder + "/" + Self.weightsFile)
      let text =
        switch format {
        case .own(let configuration):
          String(decoding: try JSONValue(encoding: configuration).serialized(), as: UTF8.self)
        case .published(let text): text
        }
      try AtomicFile.write(text, to: folder + "/" + Self.configurationFile)
      try adding(folder)
    }
  }
}

/// An error in a checkpoint whose files can be read.
public struct CheckpointError: Error, Equatable, CustomStringConvertible {
  public enum Reason: Equatable, Sendable {
    /// `config.json` is not a valid configuration of a model.
    case configuration(ConfigurationError)
    /// The tensors do not match the configuration.
    case layers(LayerError)
  }

  public let folder: String
  public let reason: Reason

  public var description: String {
    switch reason {
    case .configuration(let error): "\(folder.shown)/\(Checkpoint.configurationFile): \(error)"
    case .layers(let error): "\(folder.shown): \("\(error)".shown)"
    }
  }
}
