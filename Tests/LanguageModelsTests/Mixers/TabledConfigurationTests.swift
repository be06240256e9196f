import AttentionLayers
import AttentionTensors
import Testing

@testable import AttentionLanguageModels

@Suite struct TabledConfigurationTests {
  /// The types of layers of this package.
  static let names = MixerRegistry.builtIn.map { $0.name }

  private func decoded(_ layer: String) throws -> LayerConfiguration {
    try JSONValue(json5: layer).decoded(as: LayerConfiguration.self)
  }

  @Test(arguments: names) func everyMixerIsMadeFromItsName(_ name: String) throws {
    let layer = try decoded("{ type: '\(name)' }")
    #expect(try JSONValue(encoding: layer).decoded(as: LayerConfiguration.self) == layer)
    let scope = ParameterScope(seed: 1)
    try layer.mixer.validate(hidden: 16)
    let mixer = try layer.mixer.makeMixer(hidden: 16, outputScale: 1, scope: scope)
    let output = try mixer(Tensor.ones([1, 3, 16]))
    #expect(output.shape == [1, 3, 16])
    #expect(try output.elements(as: Float.self).allSatisfy(\.isFinite))
  }

  @Test func keysSetOptions() throws {
    let layer = try decoded(
      """
      { type: "gated_delta_net", heads: 2, value_heads: 4, convolution_width: null, gate: "sigmoid",
        layout: "qwen3_5" }
      """)
    var options = GatedDeltaNet.Options(heads: 2)
    options.valueHeads = 4
    options.convolution.width = nil
    options.gate = .sigmoid
    options.layout = .qwen35
    #expect(layer == LayerConfiguration(GatedDeltaNetConfiguration(options)))
    #expect(layer != (try decoded("{ type: 'gated_delta_net' }")))
  }

  @Test(arguments: [
    (
      "{ type: 'gated_delta_net', value_head: 4 }",
      "unknown key value_head; did you mean value_heads?"
    ),
    (
      "{ type: 'gated_delta_net', layout: 'qwen' }",
      #"layout is "qwen"; it must be one of "fla", "qwen3_next", "qwen3_5""#
    ),
    ("{ type: 'mamba2', heads: 'many' }", #"heads is "many"; it must be a whole number"#),
  ]) func mistakesAreNamed(_ layer: String, _ message: String) {
    let error = #expect(throws: ConfigurationError.self) { try decoded(layer) }
    #expect(error?.description.hasPrefix(message) == true, "\(error?.description ?? "")")
  }

  @Test func keysAreDocumented() throws {
    let section = try MambaConfiguration.documentedSection()
    let entries = Dictionary(uniqueKeysWithValues: section.entries.map { ($0.key, $0.absence) })
    #expect(section.entries.first?.key == "type")
    #expect(entries["expansion"] == "`2`")
    #expect(entries["step_rank"] == "`hidden_size` divided by 16, rounded up")
    #expect(entries["convolution_width"] == "`4`")
  }
}
