import AttentionLayers

/// One layer of a model: its token mixer, and the mixer's options.
///
///     { type: "softmax", heads: 4, key_value_heads: 2, window: 128 }
///     { type: "cosine", heads: 4, scale: 8 }
///     { type: "gated_linear", heads: 4, gate: "swish" }
///
/// `type` is the name of a mixer in ``MixerRegistry/shared``; the other keys are those of its configuration:
/// ``SoftmaxConfiguration``, ``CosineConfiguration``, ``GatedLinearConfiguration``, or another that was registered.
public struct LayerConfiguration: Sendable {
  /// The options of the token mixer.
  public var mixer: any MixerConfiguration

  public init(_ mixer: any MixerConfiguration) { self.mixer = mixer }

  public static func softmax(_ options: ExactAttentionOptions) -> LayerConfiguration {
    LayerConfiguration(SoftmaxConfiguration(options))
  }

  public static func cosine(
    _ options: ExactAttentionOptions, scale: Double = CosineAttention.defaultScale
  ) -> LayerConfiguration {
    LayerConfiguration(CosineConfiguration(options, scale: scale))
  }

  public static func gatedLinear(_ options: GatedLinearAttention.Options) -> LayerConfiguration {
    LayerConfiguration(GatedLinearConfiguration(options))
  }

  /// The number of heads of a layer without that key.
  public static let defaultHeads = 4

  /// The name in configurations.
  public var type: String { Swift.type(of: mixer).name }

  /// Throws `LayerError` naming the option that is invalid in a model of dimension `hidden`, or
  /// ``ConfigurationError`` if the mixer is not registered, so that a written configuration could not be
  /// read. `path` is the path of this layer in the file.
  func validate(hidden: Int, path: [any CodingKey]) throws {
    guard MixerRegistry.shared[type] == Swift.type(of: mixer) else {
      throw ConfigurationError.invalidValue(
        (path + [TypeKey.type]).dotted,
        was: "\"\(type)\" of \(Swift.type(of: mixer)), which is not registered",
        mustBe: MixerRegistry.shared.choices)
    }
    try mixer.validate(hidden: hidden)
  }
}

extension LayerConfiguration: Hashable {
  public static func == (first: LayerConfiguration, second: LayerConfiguration) -> Bool {
    AnyHashable(first.mixer) == AnyHashable(second.mixer)
  }

  public func hash(into hasher: inout Hasher) { hasher.combine(AnyHashable(mixer)) }
}

extension LayerConfiguration: Codable {
  /// The key that every layer has.
  enum TypeKey: String, DocumentedKey {
    case type

    var meaning: String { "the token mixer" }
    var absence: String? { "required" }
  }

  public init(from decoder: any Decoder) throws {
    let name: String = try decoder.container(keyedBy: TypeKey.self).value(.type)
    guard let kind = MixerRegistry.shared[name] else {
      throw ConfigurationError.invalidValue(
        (decoder.codingPath + [TypeKey.type]).dotted, was: "\"\(name)\"",
        mustBe: MixerRegistry.shared.choices)
    }
    try decoder.requireKeys(among: [TypeKey.type.stringValue] + kind.keyNames)
    self.init(try kind.init(from: decoder))
  }

  public func encode(to encoder: any Encoder) throws {
    var values = encoder.container(keyedBy: TypeKey.self)
    try values.encode(type, forKey: .type)
    try mixer.encode(to: encoder)
  }
}
