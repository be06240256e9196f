import AttentionLayers

/// Gated linear attention as a layer: `{ type: "gated_linear", heads: 4, gate: "swish" }`.
///
/// Keys: `heads` (4), `key_expansion` (0.5), `value_expansion` (1), `decay_rank` (16), `decay_divisor` (16) and
/// `gate` ("swish" or "sigmoid"). Defaults are in parentheses.
public struct GatedLinearConfiguration: MixerConfiguration {
  public static let name = "gated_linear"
  public static let summary = "Gated linear attention."

  public enum CodingKeys: String, DocumentedKey {
    case heads, gate
    case keyExpansion = "key_expansion"
    case valueExpansion = "value_expansion"
    case decayRank = "decay_rank"
    case decayDivisor = "decay_divisor"

    public var meaning: String {
      switch self {
      case .heads: "heads, each with a state"
      case .keyExpansion: "the total key dimension of all heads, as a multiple of `hidden_size`"
      case .valueExpansion: "the total value dimension of all heads, as a multiple of `hidden_size`"
      case .decayRank: "the dimension between the two projections that compute the decay"
      case .decayDivisor: "divides the log-decays; with larger values the state decays more slowly"
      case .gate: "the factor of the output: `swish` or `sigmoid` of a projection"
      }
    }
  }

  public var options: GatedLinearAttention.Options

  public init(_ options: GatedLinearAttention.Options) { self.options = options }

  public init() { self.init(GatedLinearAttention.Options(heads: LayerConfiguration.defaultHeads)) }

  public init(from decoder: any Decoder) throws {
    self.init()
    let values = try decoder.container(keyedBy: CodingKeys.self)
    options.heads = try values.value(.heads, default: options.heads)
    options.keyExpansion = try values.value(.keyExpansion, default: options.keyExpansion)
    options.valueExpansion = try values.value(.valueExpansion, default: options.valueExpansion)
    options.decayRank = try values.value(.decayRank, default: options.decayRank)
    options.decayDivisor = try values.value(.decayDivisor, default: options.decayDivisor)
    options.gate = try values.value(.gate, default: options.gate)
  }

  public func encode(to encoder: any Encoder) throws {
    var values = encoder.container(keyedBy: CodingKeys.self)
    try values.encode(options.heads, forKey: .heads)
    try values.encode(options.keyExpansion, forKey: .keyExpansion)
    try values.encode(options.valueExpansion, forKey: .valueExpansion)
    try values.encode(options.decayRank, forKey: .decayRank)
    try values.encode(options.decayDivisor, forKey: .decayDivisor)
    try values.encode(options.gate, forKey: .gate)
  }

  public func validate(hidden: Int) throws { try options.validate(hidden: hidden) }

  public func makeMixer(hidden: Int, outputScale: Double, scope: ParameterScope) throws
    -> any TokenMixer
  {
    try GatedLinearAttention(
      hidden: hidden, options: options, outputScale: outputScale, scope: scope)
  }
}
