import AttentionLanguageModels

/// The model that a run trains: the section `model`.
///
///     model: { hidden_size: 128, layers: [{ type: "softmax" }] }  // drawn from training.seed, of bytes
///     model: { folder: "../Qwen3-0.6B" }                          // that of a folder, with its tokenizer
public enum ModelSource: Hashable, Sendable {
  /// A new model of bytes, with initial parameters.
  case configuration(LanguageModelConfiguration)
  /// The model of a folder: a published one, a checkpoint of this package, or a run's latest. Training starts from its
  /// parameters, in float32, and reads text with its tokenizer. A relative path starts at the configuration
  /// file's folder.
  case folder(String)

  /// - Parameter path: the path of this section in the file.
  /// - Throws: `ConfigurationError.invalidValue(_:was:mustBe:)` for the first invalid value.
  public func validate(path: [any CodingKey]) throws {
    switch self {
    case .configuration(let configuration): try configuration.validate(path: path)
    case .folder(let folder):
      var check = ValueChecks(section: path.dotted)
      check.that(!folder.isEmpty, "folder", was: "\"\"", mustBe: "the path of a model's folder")
      check.that(isPath: folder, "folder")
      try check.finish()
    }
  }
}

extension ModelSource: Codable {
  /// The key of a model that is read.
  enum FolderKey: String, DocumentedKey {
    case folder

    var meaning: String {
      "a published model or a checkpoint, relative to the configuration file's folder"
    }
  }

  /// Whether the section says a folder.
  private enum Probe: String, CodingKey { case folder }

  public init(from decoder: any Decoder) throws {
    let probe = try decoder.container(keyedBy: Probe.self)
    guard probe.contains(.folder) else {
      self = .configuration(try LanguageModelConfiguration(from: decoder))
      return
    }
    let values = try decoder.strictContainer(keyedBy: FolderKey.self)
    self = .folder(try values.value(.folder))
    try validate(path: decoder.codingPath)
  }

  public func encode(to encoder: any Encoder) throws {
    switch self {
    case .configuration(let configuration): try configuration.encode(to: encoder)
    case .folder(let folder):
      var values = encoder.container(keyedBy: FolderKey.self)
      try values.encode(folder, forKey: .folder)
    }
  }
}
