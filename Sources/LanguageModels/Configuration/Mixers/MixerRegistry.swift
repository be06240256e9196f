import AttentionCUDA
import Synchronization

/// The token mixers that configurations can name as the `type` of a layer.
///
/// Those of this package are registered from the start; others must be registered with ``register(_:)``
/// before a configuration names them. Thread-safe.
public final class MixerRegistry: Sendable {
  /// The registry that every configuration of this process is read with.
  public static let shared: MixerRegistry = {
    let registry = MixerRegistry()
    for type in builtIn {
      do { try registry.register(type) } catch { preconditionFailure("\(error)") }
    }
    return registry
  }()

  /// The mixers of this package.
  public static let builtIn: [any MixerConfiguration.Type] = [
    SoftmaxConfiguration.self, CosineConfiguration.self, GatedLinearConfiguration.self,
    FeatureMapAttentionConfiguration.self, RetentionConfiguration.self, LightningConfiguration.self,
    MambaConfiguration.self, Mamba2Configuration.self, HGRNConfiguration.self,
    HGRN2Configuration.self, RWKV6Configuration.self, RWKV7Configuration.self,
    DeltaNetConfiguration.self, GatedDeltaNetConfiguration.self,
    GatedDeltaNet2Configuration.self, KimiDeltaConfiguration.self,
    GatedDeltaProductConfiguration.self, CombaConfiguration.self,
    SlotAttentionConfiguration.self, GriffinConfiguration.self, MLSTMConfiguration.self,
    MinGRUConfiguration.self,
    MinLSTMConfiguration.self, GatedConvolutionConfiguration.self, ForgettingConfiguration.self,
    LatentConfiguration.self,
  ]

  private let registered = Mutex<[any MixerConfiguration.Type]>([])

  init() {}

  /// Adds a mixer. Registering a type again has no effect.
  ///
  /// - Throws: ``MixerRegistryError`` if another type has the name, or the type has a key `type`.
  public func register(_ type: any MixerConfiguration.Type) throws {
    let reserved = LayerConfiguration.TypeKey.type.stringValue
    guard !type.keyNames.contains(reserved) else {
      throw MixerRegistryError.reservedKey(reserved, configuration: "\(type)")
    }
    try registered.withLock { types in
      guard let holder = types.first(where: { $0.name == type.name }) else {
        return types.append(type)
      }
      guard holder == type else {
        throw MixerRegistryError.duplicateName(
          type.name, registered: "\(holder)", refused: "\(type)")
      }
    }
  }

  /// All registered configurations, in the order of their registration.
  public var types: [any MixerConfiguration.Type] { registered.withLock { $0 } }

  /// Their names, in the order of their registration.
  public var names: [String] { types.map { $0.name } }

  /// The configuration registered under `name`.
  public subscript(name: String) -> (any MixerConfiguration.Type)? {
    types.first { $0.name == name }
  }

  /// The names, as errors list them.
  var choices: String { "one of " + names.map { "\"\($0)\"" }.joined(separator: ", ") }
}

extension MixerConfiguration {
  static var keyNames: [String] { keys.map(\.stringValue) }
}

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
