import AttentionLayers

/// A key of a layer of exact attention; `scale` is for cosine similarity only.
public enum ExactAttentionKey: String, DocumentedKey {
  case heads, window, scale
  case keyValueHeads = "key_value_heads"
  case headDimension = "head_dimension"
  case rotaryTheta = "rotary_theta"

  public var meaning: String {
    switch self {
    case .heads: "query heads"
    case .keyValueHeads:
      "heads of keys and values, shared by groups of query heads; divides `heads`"
    case .headDimension: "the dimension of a head"
    case .window: "number of tokens that a token attends to, including itself"
    case .rotaryTheta:
      "the base of the rotary embedding's frequencies; `null` for no rotary embedding"
    case .scale: "the initial factor of the cosines, which is trained"
    }
  }

  public var absence: String? {
    switch self {
    case .keyValueHeads: "as many as `heads`"
    case .headDimension: "`hidden_size` divided by `heads`"
    case .window: "all earlier tokens"
    case .heads, .rotaryTheta, .scale: nil
    }
  }
}

extension ExactAttentionOptions {
  /// Replaces the options for which `values` has keys.
  mutating func read(_ values: KeyedDecodingContainer<ExactAttentionKey>) throws {
    heads = try values.value(.heads, default: heads)
    keyValueHeads = try values.value(.keyValueHeads, default: keyValueHeads)
    headDimension = try values.value(.headDimension, default: headDimension)
    window = try values.value(.window, default: window)
    rotaryTheta = try values.value(.rotaryTheta, default: rotaryTheta)
  }

  func write(to values: inout KeyedEncodingContainer<ExactAttentionKey>) throws {
    try values.encode(heads, forKey: .heads)
    try values.encodeIfPresent(keyValueHeads, forKey: .keyValueHeads)
    try values.encodeIfPresent(headDimension, forKey: .headDimension)
    try values.encodeIfPresent(window, forKey: .window)
    // Null means no rotary embedding; an absent key would mean the default.
    try values.encode(rotaryTheta, forKey: .rotaryTheta)
  }
}
