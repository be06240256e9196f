import AttentionLanguageModels
import AttentionLayers
import AttentionTensors
import TestSupport
import Testing

/// Somebody else's mixer in a language model.
@Suite struct OwnMixerTests {
  init() throws { try MixerRegistry.shared.register(MovingAverageConfiguration.self) }

  private func decoded(_ layers: String) throws -> LanguageModelConfiguration {
    try JSONValue(
      json5: "{ hidden_size: 16, vocabulary_size: 23, layers: [\(layers)] }"
    ).decoded(as: LanguageModelConfiguration.self)
  }

  private func hybrid() throws -> LanguageModelConfiguration {
    try decoded("{ type: 'test.moving_average', decay: 0.5 }, { type: 'softmax' }")
  }

  private func tokens(_ batch: Int, _ length: Int) throws -> Tensor {
    var generator = Philox(seed: 3)
    return try Tensor(
      (0..<batch * length).map { _ in Int32(generator.next(below: 23)) }, [batch, length])
  }

  @Test func configurationsAreRead() throws {
    let configuration = try hybrid()
    #expect(
      configuration.layers.layers == [
        LayerConfiguration(MovingAverageConfiguration(decay: 0.5)),
        .softmax(ExactAttentionOptions(heads: 4)),
      ])
    #expect(configuration.layers.layers[0].type == "test.moving_average")
    let plain = try decoded("{ type: 'test.moving_average' }").layers.layers[0]
    #expect((plain.mixer as? MovingAverageConfiguration)?.decay == 0.9)
    #expect(plain != configuration.layers.layers[0])
    #expect(Set(configuration.layers.layers + [plain]).count == 3)
    #expect(
      try JSONValue(encoding: configuration).decoded(as: LanguageModelConfiguration.self)
        == configuration)
  }

  @Test(arguments: [
    (
      "{ type: 'test.moving_average', dcay: 0.5 }",
      "unknown key layers.0.dcay; did you mean decay? The keys are type, decay"
    ),
    (
      "{ type: 'test.moving_average', heads: 4 }",
      "unknown key layers.0.heads; the keys are type, decay"
    ),
    (
      "{ type: 'softmax' }, { type: 'test.moving_average', decay: 2 }",
      "layers.1.decay is 2.0; it must be between 0 and 1"
    ),
    (
      "{ type: 'test.moving_average', decay: 'long' }",
      #"layers.0.decay is "long"; it must be a number"#
    ),
  ]) func mistakesAreNamed(_ layers: String, _ message: String) {
    let error = #expect(throws: ConfigurationError.self) { try decoded(layers) }
    #expect(error?.description == message)
  }

  @Test func unknownTypesListTheRegisteredOnes() {
    let error = #expect(throws: ConfigurationError.self) { try decoded("{ type: 'average' }") }
    let message = error?.description ?? ""
    #expect(message.hasPrefix(#"layers.0.type is "average"; it must be one of "softmax", "#))
    #expect(message.contains(#""test.moving_average""#))
  }

  @Test func itTrainsAndItsCheckpointIsRead() throws {
    let configuration = try hybrid()
    let scope = ParameterScope(seed: 1)
    _ = try LanguageModel(configuration, scope: scope)
    #expect(scope.parameters.paths.contains("layers.0.mixer.v_proj.weight"))
    var parameters = scope.parameters
    let inputs = try tokens(2, 24)
    let targets = try tokens(2, 24)
    var losses: [Double] = []
    for _ in 0..<8 {
      let tracked = parameters.tracked()
      let loss = try LanguageModel(configuration, parameters: tracked)
        .loss(tokens: inputs, targets: targets)
      losses.append(try loss.item())
      let gradients = try loss.gradients(of: tracked.tensors)
      for (path, gradient) in zip(tracked.paths, gradients) {
        #expect(try gradient.absolute().sum().item() > 0, "\(path)")
      }
      parameters = try parameters.replacing(
        zip(parameters.tensors, gradients).map { try $0 - $1 * 0.1 })
    }
    #expect(losses[7] < 0.9 * losses[0], "\(losses)")

    let folder = TemporaryFolder()
    let written = Checkpoint(configuration: configuration, parameters: parameters)
    try written.write(to: folder.path + "/model")
    let read = try Checkpoint(folder: folder.path + "/model")
    #expect(read.configuration == configuration)
    try expectClose(read.model()(inputs), written.model()(inputs), within: 0)
  }

  @Test func stepByStepIsTheWholeSequence() throws {
    let model = try LanguageModel(hybrid(), scope: ParameterScope(seed: 2))
    let tokens = try tokens(2, 13)
    var cache = model.makeCache()
    let pieces = try [0..<5, 5..<6, 6..<13].map {
      try model.step(tokens.sliced(1, $0), cache: &cache)
    }
    try expectClose(.concatenated(pieces, 1), model(tokens), within: 1e-5)
  }

  @Test func packedSequencesAreSeparate() throws {
    let model = try LanguageModel(hybrid(), scope: ParameterScope(seed: 2))
    let tokens = try tokens(1, 12)
    let packed = try model(tokens, cumulativeLengths: Tensor([0, 5, 12] as [Int32]))
    try expectClose(packed.sliced(1, 5..<12), model(tokens.sliced(1, 5..<12)), within: 1e-5)
  }

  /// Its checkpoint could be written, and not read.
  @Test func aModelOfAMixerThatIsNotRegisteredIsRefused() throws {
    let configuration = LanguageModelConfiguration(
      hiddenSize: 8, layers: [LayerConfiguration(UnregisteredConfiguration())])
    let error = #expect(throws: ConfigurationError.self) {
      try LanguageModel(configuration, scope: ParameterScope(seed: 1))
    }
    #expect(
      error?.description.hasPrefix(
        #"layers.0.type is "test.unregistered" of UnregisteredConfiguration, which is not registered; "#
          + #"it must be one of "softmax", "#) == true)
  }
}

/// A mixer without options, which nobody registers.
private struct UnregisteredConfiguration: MixerConfiguration {
  static let name = "test.unregistered"
  static let summary = "Nothing."

  enum CodingKeys: DocumentedKey {
    var meaning: String { switch self {} }
  }

  func makeMixer(hidden: Int, outputScale: Double, scope: ParameterScope) throws -> any TokenMixer {
    try MovingAverage(hidden: hidden, decay: 0.5, outputScale: outputScale, scope: scope)
  }
}
