import FoundationEssentials
import AttentionLanguageModels

/// Models that train in milliseconds.
enum TinyModel {
  static let text = """
    {hidden_size: 16, feed_forward_size: 32, layers: [
      {type: 'softmax', heads: 2, window: 8}, {type: 'gated_linear', heads: 2},
      {type: 'cosine', heads: 2, key_value_heads: 1},
    ]}
    """
  static let otherText = "{hidden_size: 16, feed_forward_size: 32, layers: [{type: 'softmax'}]}"

  static func configuration(_ text: String = text) throws -> LanguageModelConfiguration {
    try JSONValue(json5: Data(text.utf8), source: "").decoded(as: LanguageModelConfiguration.self)
  }
}
