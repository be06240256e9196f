import AttentionLayers
import AttentionTensors
import TestSupport
import Testing

@testable import AttentionLanguageModels

@Suite struct GenerationStateTests {
  private let prompt: [Int32] = (0..<29).map { $0 * 7 % 23 }

  private func options(_ count: Int, seed: UInt64 = 4) -> GenerationOptions {
    var options = GenerationOptions(maximumTokens: count)
    options.seed = seed
    return options
  }

  private func rest(_ generator: TokenGenerator) throws -> [Int32] {
    var generator = generator
    var tokens: [Int32] = []
    while let token = try generator.next() { tokens.append(token) }
    return tokens
  }

  /// The state after `count` of the tokens that follow the prompt, by way of a file.
  private func saved(_ model: LanguageModel, _ count: Int, in folder: TemporaryFolder) throws
    -> GenerationState
  {
    var generator = try TokenGenerator(model, prompt: prompt, options: options(count))
    while try generator.next() != nil {}
    let path = folder.path("state")
    try generator.state().write(to: path, model: model)
    return try GenerationState(path: path, model: model)
  }

  /// Of every mixer, in float32 and bfloat16, the continuation has the tokens and the bits of one that was not
  /// interrupted.
  @Test(arguments: MixerRegistry.builtIn.map { $0.name })
  func continuationsHaveTheSameBits(_ name: String) throws {
    let configuration = try ModelCase.configuration(ofMixer: name)
    // Half precision of one mixer is that of all: states are kept in their own dtype.
    for dtype in name == "gated_delta_net" ? [DType.float32, .bfloat16] : [.float32] {
      let model = try LanguageModel(configuration, scope: ParameterScope(seed: 1, dtype: dtype))
      let folder = TemporaryFolder()
      let whole = try model.generate(prompt: prompt, options: options(12))
      for count in [0, 5] {
        let state = try saved(model, count, in: folder)
        #expect(state.tokens == prompt + whole[..<count])
        #expect(state.choiceCount == count)
        let generator = try TokenGenerator(
          model, continuing: state, options: options(12 - count))
        #expect(try rest(generator) == Array(whole[count...]), "\(name), \(dtype), \(count)")
        // A second time, and the bits of its state after the same tokens.
        var again = generator
        while try again.next() != nil {}
        var uninterrupted = try TokenGenerator(model, prompt: prompt, options: options(12))
        while try uninterrupted.next() != nil {}
        let (first, second) = try (again.state(), uninterrupted.state())
        #expect(first.logits.map(\.bitPattern) == second.logits.map(\.bitPattern))
        #expect(first.choiceCount == second.choiceCount)
      }
    }
  }

  @Test func windowsAreKept() throws {
    for test in ModelCase.all {
      let model = try test.model()
      let folder = TemporaryFolder()
      let whole = try model.generate(prompt: prompt, options: options(12))
      for count in [0, 6] {
        let generator = try TokenGenerator(
          model, continuing: saved(model, count, in: folder), options: options(12 - count))
        #expect(try rest(generator) == Array(whole[count...]), "\(test.name), \(count)")
      }
    }
  }

  @Test func aStateForksIntoManyContinuations() throws {
    let model = try ModelCase.all[6].model()
    var generator = try TokenGenerator(model, prompt: prompt, options: options(0))
    let state = try generator.state()
    for seed in [UInt64(1), 2, 3] {
      let alone = try model.generate(prompt: prompt, options: options(12, seed: seed))
      let forked = try TokenGenerator(model, continuing: state, options: options(12, seed: seed))
      #expect(try rest(forked) == alone)
    }
    // Further tokens come first, as if they had been a piece of the prompt.
    let more: [Int32] = [3, 1, 4]
    var pieces = options(8)
    pieces.prefillLength = prompt.count
    let whole = try model.generate(prompt: prompt + more, options: pieces)
    #expect(
      try rest(TokenGenerator(model, continuing: state, prompt: more, options: options(8)))
        == whole)
  }

  @Test func filesAreChecked() throws {
    let test = ModelCase.all[6]
    let model = try test.model()
    let folder = TemporaryFolder()
    _ = try saved(model, 3, in: folder)
    let path = folder.path("state")
    #expect(throws: GenerationError.self) {
      try GenerationState(path: path, model: test.model(seed: 2))
    }
    #expect(throws: GenerationError.self) {
      try GenerationState(path: path, model: test.model(dtype: .bfloat16))
    }
    // Another model's tensors under this model's name.
    let file = try SafetensorsFile(path: path)
    let tensors = try file.names.map { (name: $0, tensor: try file.tensor(named: $0)) }
    let changed = folder.path("changed")
    for dropped in tensors.indices {
      var others = tensors
      others.remove(at: dropped)
      try Safetensors.write(others, metadata: file.metadata, to: changed)
      #expect(throws: (any Error).self, "without \(tensors[dropped].name)") {
        try GenerationState(path: changed, model: model)
      }
      others = tensors
      let old = others[dropped].tensor
      others[dropped].tensor = try .zeros(
        Shape([old.shape[0] + 1] + old.shape.dimensions.dropFirst()), dtype: old.dtype)
      try Safetensors.write(others, metadata: file.metadata, to: changed)
      #expect(throws: (any Error).self, "with a larger \(tensors[dropped].name)") {
        try GenerationState(path: changed, model: model)
      }
    }
    try Safetensors.write(
      tensors + [(name: "cache.layers.99.keys", tensor: tensors[0].tensor)],
      metadata: file.metadata, to: changed)
    #expect(throws: GenerationError.self) { try GenerationState(path: changed, model: model) }
    try Safetensors.write(tensors, to: changed)
    #expect(throws: GenerationError.self) { try GenerationState(path: changed, model: model) }
    #expect(throws: TensorError.self) {
      try GenerationState(path: folder.path("absent"), model: model)
    }
  }
}
