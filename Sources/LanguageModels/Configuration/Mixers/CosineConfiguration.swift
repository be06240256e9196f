import AttentionLayers

/// Cosine similarity attention as a layer: `{ type: "cosine", heads: 4, scale: 8 }`.
///
/// Keys: those of ``SoftmaxConfiguration``, and `scale` (8).
public struct CosineConfiguration: MixerConfiguration {
  public static let name = "cosine"
  public static let summary = "Cosine similarity attention."

  public typealias CodingKeys = ExactAttentionKey

  public var options: ExactAttentionOptions
  /// The scale of every head before training.
  public var scale: Double

  public init(
    _ options: ExactAttentionOptions, scale: Double = CosineAttention.defaultScale
  ) {
    self.options = options
    self.scale = scale
  }

  public init() { self.init(ExactAttentionOptions(heads: LayerConfiguration.defaultHeads)) }

  public init(from decoder: any Decoder) throws {
    self.init()
    let values = try decoder.container(keyedBy: CodingKeys.self)
    try options.read(values)
    scale = try values.value(.scale, default: scale)
  }

  public func encode(to encoder: any Encoder) throws {
    var values = encoder.container(keyedBy: CodingKeys.self)
    try options.write(to: &values)
    try values.encode(scale, forKey: .scale)
  }

  public func validate(hidden: Int) throws {
    try options.validate(hidden: hidden)
    guard scale > 0, scale.isFinite else {
      throw LayerError.invalidArgument("scale", was: "\(scale)", mustBe: "a number above 0")
    }
  }

  public func makeMixer(hidden: Int, outputScale: Double, scope: ParameterScope) throws
    -> any TokenMixer
  {
    try CosineAttention(
      hidden: hidden, options: options, initialScale: scale, outputScale: outputScale,
      scope: scope)
  }
}
