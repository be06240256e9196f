import AttentionCUDA

/// Why a mixer cannot be registered.
public enum MixerRegistryError: Error, Hashable, CustomStringConvertible {
  /// Another configuration has the name.
  case duplicateName(_ name: String, registered: String, refused: String)
  /// The configuration has a key that every layer has.
  case reservedKey(_ key: String, configuration: String)

  public var description: String {
    switch self {
    case .duplicateName(let name, let registered, let refused):
      "name of \(refused.shown) is \"\(name.shown)\", that of \(registered.shown); it must be unique"
    case .reservedKey(let key, let configuration):
      "a key of \(configuration.shown) is \(key.shown), which every layer has; it must be different"
    }
  }
}
