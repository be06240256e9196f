import FoundationEssentials
import AttentionLayers
import Testing

@testable import AttentionLanguageModels

@Suite struct LanguageModelConfigurationTests {
  private func decoded(_ text: String) throws -> LanguageModelConfiguration {
    try JSONValue(json5: Data(text.utf8), source: "test")
      .decoded(as: LanguageModelConfiguration.self)
  }

  @Test func absentKeysHaveTheirDefaults() throws {
    let configuration = try decoded("{ hidden_size: 128, layers: [{ type: 'softmax' }] }")
    #expect(configuration.vocabularySize == 256)
    #expect(configuration.feedForwardSize == 352)
    #expect(configuration.normEpsilon == 1e-6)
    #expect(configuration.hasTiedEmbeddings)
    #expect(configuration.layers.layers == [.softmax(.init(heads: 4))])
  }

  @Test func everyKeyIsRead() throws {
    let configuration = try decoded(
      """
      { vocabulary_size: 100, hidden_size: 24, feed_forward_size: 40, norm_epsilon: 1e-5,
        tied_embeddings: false,
        layers: { repeat: 2, pattern: [
          { type: "softmax", heads: 6, key_value_heads: 3, head_dimension: 10, window: 7,
            rotary_theta: null },
          { type: "cosine", heads: 2, scale: 3, rotary_theta: 500 },
          { type: "gated_linear", heads: 3, key_expansion: 1, value_expansion: 2, decay_rank: 5,
            decay_divisor: 4, gate: "sigmoid" }] } }
      """)
    var softmax = ExactAttentionOptions(
      heads: 6, keyValueHeads: 3, headDimension: 10, window: 7)
    softmax.rotaryTheta = nil
    var cosine = ExactAttentionOptions(heads: 2)
    cosine.rotaryTheta = 500
    var linear = GatedLinearAttention.Options(heads: 3)
    linear.keyExpansion = 1
    linear.valueExpansion = 2
    linear.decayRank = 5
    linear.decayDivisor = 4
    linear.gate = .sigmoid
    let pattern: [LayerConfiguration] = [
      .softmax(softmax), .cosine(cosine, scale: 3), .gatedLinear(linear),
    ]
    #expect(configuration.layers == LayerSchedule(pattern, repeats: 2))
    #expect(configuration.layers.layers == pattern + pattern)
    #expect(configuration.vocabularySize == 100)
    #expect(configuration.feedForwardSize == 40)
    #expect(configuration.normEpsilon == 1e-5)
    #expect(!configuration.hasTiedEmbeddings)
    // Written and read again.
    let written = try JSONValue(encoding: configuration)
    #expect(try written.decoded(as: LanguageModelConfiguration.self) == configuration)
  }

  @Test(arguments: ModelCase.all) func whatIsWrittenIsRead(_ test: ModelCase) throws {
    let written = try JSONValue(encoding: test.configuration).serialized()
    #expect(
      try decoded(String(decoding: written, as: UTF8.self)) == test.configuration)
  }

  /// A layer or a configuration with one error, and the path and text of its message.
  private static let mistakes: [(text: String, message: String)] = [
    ("{ layers: [{ type: 'softmax' }] }", "hidden_size is missing"),
    ("{ hidden_size: 8 }", "layers is missing"),
    ("{ hidden_size: 8, layers: [] }", "layers is empty; it must be at least one layer"),
    (
      "{ hidden_size: 8, layers: 3 }",
      "layers is 3; it must be an array of layers, or an object with the keys pattern and repeat"
    ),
    ("{ hidden_size: 8, layers: [{ heads: 2 }] }", "layers.0.type is missing"),
    (
      "{ hidden_size: 8, layers: [{ type: 'sofmax' }] }",
      // Those that other tests have registered follow.
      #"layers.0.type is "sofmax"; it must be one of "softmax", "cosine", "gated_linear""#
    ),
    (
      "{ hiden_size: 8, layers: [] }",
      "unknown key hiden_size; did you mean hidden_size? The keys are vocabulary_size, hidden_size, feed_forward_size, norm_epsilon, tied_embeddings, layers"
    ),
    (
      "{ hidden_size: 8, layers: [{ type: 'cosine', hedas: 2 }] }",
      "unknown key layers.0.hedas; did you mean heads? The keys are type, heads, window, scale, key_value_heads, head_dimension, rotary_theta"
    ),
    (
      "{ hidden_size: 8, layers: [{ type: 'softmax', scale: 2 }] }",
      "unknown key layers.0.scale; the keys are type, heads, window, key_value_heads, head_dimension, rotary_theta"
    ),
    (
      "{ hidden_size: 8, layers: [{ type: 'softmax', heads: 3 }] }",
      "layers.0.heads is 3; it must be a divisor of the hidden size, 8"
    ),
    (
      "{ hidden_size: 8, layers: [{ type: 'cosine' }, { type: 'cosine', key_value_heads: 3 }] }",
      "layers.1.key_value_heads is 3; it must be a divisor of heads, 4"
    ),
    (
      "{ hidden_size: 8, layers: { repeat: 2, pattern: [{ type: 'cosine', window: 0 }] } }",
      "layers.pattern.0.window is 0; it must be at least 1"
    ),
    (
      "{ hidden_size: 8, layers: { repeat: 0, pattern: [{ type: 'cosine' }] } }",
      "layers.repeat is 0; it must be at least 1, with at most 4096 layers in all"
    ),
    (
      "{ hidden_size: 8, layers: { repeat: 1e9, pattern: [{ type: 'cosine' }] } }",
      "layers.repeat is 1000000000; it must be at least 1, with at most 4096 layers in all"
    ),
    (
      "{ hidden_size: 8, layers: [{ type: 'gated_linear', key_expansion: 0.3 }] }",
      "layers.0.key_expansion is 0.3; it must be such that times the hidden size, 8, it is a "
        + "multiple of heads, 4"
    ),
    (
      "{ hidden_size: 8, layers: [{ type: 'gated_linear', gate: 'relu' }] }",
      #"layers.0.gate is "relu"; it must be one of "swish", "sigmoid""#
    ),
    (
      "{ hidden_size: 8, layers: [{ type: 'cosine', scale: -1 }] }",
      "layers.0.scale is -1.0; it must be a number above 0"
    ),
    (
      "{ hidden_size: 12, layers: [{ type: 'softmax' }] }",
      "layers.0.head_dimension is 3; it must be even and above 0 for rotary embeddings"
    ),
    (
      "{ hidden_size: 8, norm_epsilon: 0, layers: [{ type: 'softmax' }] }",
      "norm_epsilon is 0.0; it must be a number above 0"
    ),
    (
      "{ hidden_size: 9999999, layers: [{ type: 'softmax' }] }",
      "hidden_size is 9999999; it must be in 1...1048576"
    ),
    (
      "{ hidden_size: 8, tied_embeddings: 1, layers: [{ type: 'softmax' }] }",
      "tied_embeddings is 1; it must be true or false"
    ),
  ]

  @Test(arguments: mistakes) func mistakesAreNamed(_ mistake: (text: String, message: String)) {
    let error = #expect(throws: ConfigurationError.self) { try decoded(mistake.text) }
    let message = error?.description ?? ""
    #expect(
      mistake.text.contains("sofmax")
        ? message.hasPrefix(mistake.message) : message == mistake.message)
  }

  @Test func aConfigurationMadeInCodeIsValidatedByTheModel() throws {
    let configuration = LanguageModelConfiguration(
      hiddenSize: 8, layers: [.softmax(.init(heads: 3))])
    #expect(throws: ConfigurationError.self) {
      try LanguageModel(configuration, scope: ParameterScope(seed: 1))
    }
  }
}
