import AttentionCUDA
import AttentionLayers

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
