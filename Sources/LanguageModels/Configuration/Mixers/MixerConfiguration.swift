import AttentionLayers

/// The configuration of a layer with a token mixer: its options, from which it makes the mixer.
///
/// Once its configuration is registered, a ``LanguageModel`` can have a mixer from outside this package. One
/// with a single option, `{ type: "moving_average", decay: 0.8 }`:
///
///     struct MovingAverageConfiguration: MixerConfiguration {
///       static let name = "moving_average"
///       static let summary = "A moving average of earlier tokens."
///       var decay = 0.9
///
///       enum CodingKeys: String, DocumentedKey {
///         case decay
///         var meaning: String { "the weight of one token relative to the next" }
///       }
///
///       init() {}
///
///       init(from decoder: any Decoder) throws {
///         let values = try decoder.container(keyedBy: CodingKeys.self)
///         decay = try values.value(.decay, default: decay)
///       }
///
///       func makeMixer(hidden: Int, outputScale: Double, scope: ParameterScope) throws
///         -> any TokenMixer
///       { try MovingAverage(hidden: hidden, decay: decay, outputScale: outputScale, scope: scope) }
///     }
///
///     try MixerRegistry.shared.register(MovingAverageConfiguration.self)
///
/// Decoding is strict without the type's help: a layer with a key that is not among ``keys`` is rejected
/// before `init(from:)` is called. That initialiser reads a plain container of `CodingKeys`, without `type`.
/// Decoding the output of `encode(to:)` must give an equal value, because checkpoints store it.
public protocol MixerConfiguration: Codable, Hashable, Sendable {
  /// The keys of a layer of this type, without `type`.
  associatedtype CodingKeys: DocumentedKey

  /// The layer's `type` in configurations.
  static var name: String { get }
  /// A description of the mixer in one sentence, for the list of all keys.
  static var summary: String { get }
  /// The keys that a layer of this type may have, in the order of their documentation. All cases of
  /// `CodingKeys` unless implemented.
  static var keys: [CodingKeys] { get }

  /// The options of a layer without keys other than `type`; required options have any value.
  init()

  /// Throws `LayerError.invalidArgument(_:was:mustBe:)` naming the option that is invalid in a model of
  /// dimension `hidden`. Accepts everything unless implemented.
  func validate(hidden: Int) throws

  /// Makes the mixer with parameters from `scope`. Called for valid options only.
  ///
  /// - Parameters:
  ///   - hidden: the dimension of a token.
  ///   - outputScale: the standard deviation of the output for head outputs of variance 1, with which the
  ///     last projection is drawn, so that the residual stream keeps its variance over the layers.
  ///   - scope: the source of the parameters.
  func makeMixer(hidden: Int, outputScale: Double, scope: ParameterScope) throws -> any TokenMixer
}

extension MixerConfiguration {
  public static var keys: [CodingKeys] { Array(CodingKeys.allCases) }

  public func validate(hidden: Int) throws {}

  /// The section of this type's layers in the list of all keys.
  static func documentedSection() throws -> DocumentedSection {
    try DocumentedSection(
      "`model.layers`, an element with `type: \"\(name)\"`", summary,
      [LayerConfiguration.TypeKey.type] + keys, defaults: LayerConfiguration(Self()))
  }
}
