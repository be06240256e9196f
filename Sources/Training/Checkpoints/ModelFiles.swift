import LanguageModels
import Layers
import Tensors

/// A model in a folder: `config.json`, its configuration, and `model.safetensors`, its parameters
/// under their paths.
struct ModelFiles {
  let configuration: LanguageModelConfiguration
  let parameters: Parameters

  private static let configurationFile = "/config.json"
  private static let parametersFile = "/model.safetensors"

  init(configuration: LanguageModelConfiguration, parameters: Parameters) {
    self.configuration = configuration
    self.parameters = parameters
  }

  init(folder: String) throws {
    configuration = try JSONValue(json5File: folder + Self.configurationFile)
      .decoded(as: LanguageModelConfiguration.self)
    let file = try SafetensorsFile(path: folder + Self.parametersFile)
    parameters = try Parameters(
      file.names.map { (path: $0, tensor: try file.tensor(named: $0)) })
  }

  func write(to folder: String) throws {
    try Safetensors.write(
      zip(parameters.paths, parameters.tensors).map { (name: $0, tensor: $1) },
      to: folder + Self.parametersFile)
    let text = try JSONValue(encoding: configuration).serialized()
    try AtomicFile.write(
      String(decoding: text, as: UTF8.self), to: folder + Self.configurationFile)
  }
}
