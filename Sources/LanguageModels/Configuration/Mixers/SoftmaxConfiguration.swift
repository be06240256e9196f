import AttentionLayers

/// Softmax attention as a layer: `{ type: "softmax", heads: 4, key_value_heads: 2, window: 128 }`.
///
/// Keys: `heads` (4), `key_value_heads` (as many), `head_dimension` (the hidden size divided by the heads),
/// `window` (none) and `rotary_theta` (10000; null for no rotary embedding). Defaults are in parentheses.
public struct SoftmaxConfiguration: MixerConfiguration {
  public static let name = "softmax"
  public static let summary = "Softmax attention."
  public static var keys: [CodingKeys] { CodingKeys.allCases.filter { $0 != .scale } }

  public typealias CodingKeys = ExactAttentionKey

  public var options: ExactAttentionOptions

  public init(_ options: ExactAttentionOptions) { self.options = options }

  public init() { self.init(ExactAttentionOptions(heads: LayerConfiguration.defaultHeads)) }

  public init(from decoder: any Decoder) throws {
    self.init()
    try options.read(decoder.container(keyedBy: CodingKeys.self))
  }

  public func encode(to encoder: any Encoder) throws {
    var values = encoder.container(keyedBy: CodingKeys.self)
    try options.write(to: &values)
  }

  public func validate(hidden: Int) throws { try options.validate(hidden: hidden) }

  public func makeMixer(hidden: Int, outputScale: Double, scope: ParameterScope) throws
    -> any TokenMixer
  {
    try SoftmaxAttention(hidden: hidden, options: options, outputScale: outputScale, scope: scope)
  }
}
