import AttentionCLibrary
import FoundationEssentials
import AttentionLanguageModels
import AttentionLayers
import AttentionTensors
import TestSupport
import Testing

@testable import AttentionTraining

/// Training that starts from a model's folder.
@Suite struct PublishedTrainingTests {
  private static let configuration = """
    {
      "model_type": "llama",
      "dtype": "bfloat16",
      "hidden_size": 16,
      "intermediate_size": 32,
      "num_hidden_layers": 2,
      "num_attention_heads": 2,
      "vocab_size": 300,
      "eos_token_id": 0
    }
    """

  /// Writes a published model in bfloat16 with a tokenizer of at most 280 tokens.
  private func writeModel(
    in folder: TemporaryFolder, configuration: String = configuration
  ) throws {
    try folder.write("model/config.json", configuration)
    var trainer = try BytePairTrainer(
      vocabularySize: 280, minimumFrequency: 2, specialTokens: ["<|end|>"])
    try trainer.add(utf8: Array(String(repeating: "let value = 1 + value\n", count: 9).utf8))
    try folder.write("model/tokenizer.json", trainer.tokenizerJSON())
    try folder.write("model/generation_config.json", "{\"eos_token_id\": 0}")
    // From an earlier training, and no part of the model.
    try folder.write("model/trainer_state.json", "{}")
    var options = ExactAttentionOptions(heads: 2)
    options.rotaryTheta = 10_000
    let norm = NormOptions(epsilon: 1e-6)
    let description = ModelDescription(
      vocabularySize: 300, hiddenSize: 16,
      layers: (0..<2).map { _ in
        LayerDescription([
          StepDescription(
            norm: Named("input_layernorm", norm),
            [PartDescription("self_attn", .mixer(SoftmaxConfiguration(options)))]),
          StepDescription(
            norm: Named("post_attention_layernorm", norm),
            [PartDescription("mlp", .feedForward(FeedForward.Options(inner: 32)))]),
        ])
      }, norm: Named("model.norm", norm), embedding: "model.embed_tokens",
      layerList: "model.layers", head: "lm_head")
    let scope = ParameterScope(seed: 3, dtype: .bfloat16)
    _ = try LanguageModel(description, scope: scope)
    try Safetensors.write(
      zip(scope.parameters.paths, scope.parameters.tensors).map { (name: $0, tensor: $1) },
      to: folder.path("model/model.safetensors"))
  }

  private func trainer(
    in folder: TemporaryFolder, run: String = "run", model: String = "model",
    _ change: (inout TrainingConfiguration) -> Void = { _ in }
  ) throws -> Trainer {
    try TrainerTests().trainer(in: folder, run: run) {
      $0.model = .folder(model)
      $0.training.learningRate = 0.01
      change(&$0)
    }
  }

  @Test func aRunLearnsAndItsCheckpointsArePublishedModels() throws {
    let folder = TemporaryFolder()
    try writeModel(in: folder)
    let trainer = try trainer(in: folder) { $0.training.steps = 40 }
    // Tokens are longer than bytes, and losses are counted per byte.
    #expect(trainer.corpus.training.bytesPerToken > 1.2)
    #expect(trainer.corpus.training.byteCount > trainer.corpus.training.tokenCount)
    let result = try trainer.run()
    let first = try #require(result.curve.training.first).bitsPerByte
    let last = try #require(result.curve.training.last).bitsPerByte
    #expect(last < first - 0.5, "the loss went from \(first) to \(last) bits per byte")

    let checkpoint = try #require(result.checkpoint)
    let model = try PublishedModel(folder: checkpoint)
    #expect(model.family == "llama")
    let parameters = try model.checkpoint().parameters
    #expect(parameters.tensors.allSatisfy { $0.dtype == .float32 })
    let text = Self.configuration.replacing("bfloat16", with: "float32")
    #expect(folder.bytes("run/checkpoint-40/config.json") == Array(text.utf8))
    for name in ["tokenizer.json", "generation_config.json"] {
      #expect(
        folder.bytes("run/checkpoint-40/" + name) == folder.bytes("model/" + name), "\(name)")
    }
    #expect(folder.bytes("run/checkpoint-40/trainer_state.json") != Array("{}".utf8))
    let tuned = try TextModel(folder: checkpoint)
    #expect(tuned.endTokens == [0])
    let loss = try #require(result.validationBitsPerByte)
    // A second run goes on from where this one is.
    let next = try self.trainer(in: folder, run: "next", model: "run") { $0.training.steps = 1 }
      .run()
    let start = try #require(next.curve.training.first).bitsPerByte
    #expect(start < (first + loss) / 2)
  }

  @Test func resumedEqualsUninterruptedByteForByte() throws {
    let folder = TemporaryFolder()
    try writeModel(in: folder)
    _ = try trainer(in: folder, run: "whole").run()
    for stop in [1, 8] {
      _ = try trainer(in: folder, run: "parts").run(start: .startOver, stopAfter: stop)
      _ = try trainer(in: folder, run: "parts").run(start: .mustContinue)
      let whole = try folder.contents(of: "whole/checkpoint-12")
      let parts = try folder.contents(of: "parts/checkpoint-12")
      #expect(whole.count == 6 && parts.count == 6)
      for (name, bytes) in whole {
        #expect(parts[name.replacing("whole", with: "parts")] == bytes, "\(name) after \(stop)")
      }
    }
  }

  @Test func checkpointsOfThisPackageAreTrainedOn() throws {
    let folder = TemporaryFolder()
    let first = try TrainerTests().trainer(in: folder).run()
    let second = try trainer(in: folder, run: "second", model: "run/checkpoint-12").run()
    let configuration = try Checkpoint(folder: #require(second.checkpoint)).configuration
    #expect(try configuration == TinyModel.configuration())
    #expect(
      try #require(second.curve.training.first).bitsPerByte
        < #require(first.curve.training.first).bitsPerByte)
  }

  @Test func whatCannotBeTrainedIsNamed() throws {
    let folder = TemporaryFolder()
    func message(_ change: (inout TrainingConfiguration) -> Void = { _ in }) -> String {
      do { return "\(try trainer(in: folder, change).run())" } catch { return "\(error)" }
    }
    #expect(message().contains("model/config.json: cannot be opened"))
    #expect(
      message { $0.model = .folder("") }
        == "model.folder is \"\"; it must be the path of a model's folder")
    try writeModel(in: folder, configuration: #"{"model_type": "lama"}"#)
    #expect(message().contains("did you mean llama?"))
    try writeModel(in: folder, configuration: Self.configuration.replacing("300", with: "258"))
    #expect(message().contains("it must be of at most 258, as the model's embedding has"))
    try writeModel(in: folder)
    try folder.write("text/binary.swift", [0xFF, 0xFE, 0x41, 0x42, 0x43])
    #expect(message().contains("text/binary.swift: text is not UTF-8; it must be UTF-8"))
    unlink(folder.path("text/binary.swift"))
    unlink(folder.path("model/tokenizer.json"))
    #expect(message().contains("the folder has no tokenizer.json"))
    #expect(folder.bytes("run/configuration.json").isEmpty)

    func decoding(_ text: String) -> String {
      do {
        return "\(try JSONValue(json5: text).decoded(as: TrainingConfiguration.self))"
      } catch { return "\(error)" }
    }
    #expect(
      decoding("{model: {folder: 'x', hidden_size: 8}}")
        == "unknown key model.hidden_size; the keys are folder")
    #expect(decoding("{model: {folder: 3}}") == "model.folder is 3; it must be a string")
  }
}
