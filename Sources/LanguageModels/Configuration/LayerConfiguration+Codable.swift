import AttentionLayers

extension LayerConfiguration: Codable {
  private enum TypeKey: String, CodingKey { case type }

  enum ExactKeys: String, CodingKey, CaseIterable {
    case type, heads, window, scale
    case keyValueHeads = "key_value_heads"
    case headDimension = "head_dimension"
    case rotaryTheta = "rotary_theta"
  }

  enum GatedLinearKeys: String, CodingKey, CaseIterable {
    case type, heads, gate
    case keyExpansion = "key_expansion"
    case valueExpansion = "value_expansion"
    case decayRank = "decay_rank"
    case decayDivisor = "decay_divisor"
  }

  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: TypeKey.self)
    let type: String = try values.value(.type)
    switch Kind(rawValue: type) {
    case .softmax:
      let options = try Self.exactOptions(from: decoder, hasScale: false)
      self = .softmax(options)
    case .cosine:
      let options = try Self.exactOptions(from: decoder, hasScale: true)
      let scale = try decoder.strictContainer(keyedBy: ExactKeys.self)
        .value(.scale, default: CosineAttention.defaultScale)
      self = .cosine(options, scale: scale)
    case .gatedLinear:
      self = .gatedLinear(try Self.gatedLinearOptions(from: decoder))
    case nil:
      throw ConfigurationError.invalidValue(
        (decoder.codingPath + [TypeKey.type]).dotted, was: "\"\(type)\"",
        mustBe: "one of " + Kind.allCases.map { "\"\($0.rawValue)\"" }.joined(separator: ", "))
    }
  }

  private static func exactOptions(from decoder: any Decoder, hasScale: Bool) throws
    -> ExactAttentionOptions
  {
    let values = try decoder.strictContainer(keyedBy: ExactKeys.self)
    guard hasScale || !values.contains(.scale) else {
      let known = ExactKeys.allCases.filter { $0 != .scale }.map(\.stringValue)
      throw ConfigurationError.unknownKey(
        (decoder.codingPath + [ExactKeys.scale]).dotted, nearest: nil, known: known)
    }
    var options = ExactAttentionOptions(heads: try values.value(.heads, default: defaultHeads))
    options.keyValueHeads = try values.value(.keyValueHeads, default: nil)
    options.headDimension = try values.value(.headDimension, default: nil)
    options.window = try values.value(.window, default: nil)
    options.rotaryTheta = try values.value(.rotaryTheta, default: options.rotaryTheta)
    return options
  }

  private static func gatedLinearOptions(from decoder: any Decoder) throws
    -> GatedLinearAttention.Options
  {
    let values = try decoder.strictContainer(keyedBy: GatedLinearKeys.self)
    var options = GatedLinearAttention.Options(
      heads: try values.value(.heads, default: defaultHeads))
    options.keyExpansion = try values.value(.keyExpansion, default: options.keyExpansion)
    options.valueExpansion = try values.value(.valueExpansion, default: options.valueExpansion)
    options.decayRank = try values.value(.decayRank, default: options.decayRank)
    options.decayDivisor = try values.value(.decayDivisor, default: options.decayDivisor)
    let gate = try values.value(.gate, default: options.gate.rawValue)
    guard let known = GatedLinearAttention.Gate(rawValue: gate) else {
      let names = GatedLinearAttention.Gate.allCases.map { "\"\($0.rawValue)\"" }
      throw ConfigurationError.invalidValue(
        (decoder.codingPath + [GatedLinearKeys.gate]).dotted, was: "\"\(gate)\"",
        mustBe: "one of " + names.joined(separator: ", "))
    }
    options.gate = known
    return options
  }

  public func encode(to encoder: any Encoder) throws {
    switch self {
    case .softmax(let options): try encode(options, scale: nil, to: encoder)
    case .cosine(let options, let scale): try encode(options, scale: scale, to: encoder)
    case .gatedLinear(let options):
      var values = encoder.container(keyedBy: GatedLinearKeys.self)
      try values.encode(type, forKey: .type)
      try values.encode(options.heads, forKey: .heads)
      try values.encode(options.keyExpansion, forKey: .keyExpansion)
      try values.encode(options.valueExpansion, forKey: .valueExpansion)
      try values.encode(options.decayRank, forKey: .decayRank)
      try values.encode(options.decayDivisor, forKey: .decayDivisor)
      try values.encode(options.gate, forKey: .gate)
    }
  }

  private func encode(
    _ options: ExactAttentionOptions, scale: Double?, to encoder: any Encoder
  ) throws {
    var values = encoder.container(keyedBy: ExactKeys.self)
    try values.encode(type, forKey: .type)
    try values.encode(options.heads, forKey: .heads)
    try values.encodeIfPresent(options.keyValueHeads, forKey: .keyValueHeads)
    try values.encodeIfPresent(options.headDimension, forKey: .headDimension)
    try values.encodeIfPresent(options.window, forKey: .window)
    // A null here is no positions; an absent key would be the default.
    try values.encode(options.rotaryTheta, forKey: .rotaryTheta)
    try values.encodeIfPresent(scale, forKey: .scale)
  }
}
