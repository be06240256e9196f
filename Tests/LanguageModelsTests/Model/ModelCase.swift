import AttentionLayers
import AttentionTensors
import Testing

@testable import AttentionLanguageModels

/// A small model of some layers, for tests.
struct ModelCase: Sendable, CustomTestStringConvertible {
  let name: String
  let configuration: LanguageModelConfiguration
  var testDescription: String { name }

  init(_ name: String, _ layers: [LayerConfiguration], repeats: Int = 1, isTied: Bool = true) {
    self.name = name
    var configuration = LanguageModelConfiguration(
      hiddenSize: 16, layers: LayerSchedule(layers, repeats: repeats))
    configuration.vocabularySize = 23
    configuration.hasTiedEmbeddings = isTied
    self.configuration = configuration
  }

  /// Each mixer alone, with and without windows shorter than the test sequences, and all together.
  static let all: [ModelCase] = {
    let softmax = LayerConfiguration.softmax(.init(heads: 4, keyValueHeads: 2))
    let windowed = LayerConfiguration.softmax(.init(heads: 2, window: 5))
    let cosine = LayerConfiguration.cosine(.init(heads: 4, keyValueHeads: 1))
    let windowedCosine = LayerConfiguration.cosine(
      .init(heads: 2, headDimension: 6, window: 3), scale: 5)
    let linear = LayerConfiguration.gatedLinear(.init(heads: 2))
    var options = GatedLinearAttention.Options(heads: 2)
    options.gate = .sigmoid
    options.keyExpansion = 1
    options.valueExpansion = 2
    options.decayDivisor = 1
    let wide = LayerConfiguration.gatedLinear(options)
    return [
      ModelCase("softmax", [softmax]), ModelCase("windowed softmax", [windowed]),
      ModelCase("cosine", [cosine], isTied: false),
      ModelCase("windowed cosine", [windowedCosine]), ModelCase("gated linear", [linear]),
      ModelCase("gated linear, sigmoid gate", [wide]),
      ModelCase("hybrid", [linear, windowed, cosine], repeats: 2, isTied: false),
    ]
  }()

  /// A model of one layer with the defaults of a registered mixer.
  static func configuration(ofMixer name: String) throws -> LanguageModelConfiguration {
    let layer = try JSONValue(json5: "{type: \"\(name)\"}").decoded(as: LayerConfiguration.self)
    var configuration = LanguageModelConfiguration(
      hiddenSize: 32, layers: LayerSchedule([layer]))
    configuration.vocabularySize = 40
    return configuration
  }

  func model(seed: UInt64 = 1, dtype: DType = .float32) throws -> LanguageModel {
    try LanguageModel(configuration, scope: ParameterScope(seed: seed, dtype: dtype))
  }

  /// Random tokens [batch, length].
  func tokens(_ batch: Int, _ length: Int, seed: UInt64 = 2) throws -> Tensor {
    var generator = Philox(seed: seed)
    let bound = configuration.vocabularySize
    return try Tensor(
      (0..<batch * length).map { _ in Int32(generator.next(below: bound)) }, [batch, length])
  }
}
