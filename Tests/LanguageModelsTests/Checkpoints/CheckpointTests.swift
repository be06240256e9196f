import FoundationEssentials
import AttentionLayers
import AttentionTensors
import TestSupport
import Testing

@testable import AttentionLanguageModels

@Suite struct CheckpointTests {
  private func checkpoint(_ test: ModelCase, dtype: DType = .float32) throws -> Checkpoint {
    let scope = ParameterScope(seed: 5, dtype: dtype)
    _ = try LanguageModel(test.configuration, scope: scope)
    return Checkpoint(configuration: test.configuration, parameters: scope.parameters)
  }

  @Test(arguments: ModelCase.all) func whatIsWrittenIsRead(_ test: ModelCase) throws {
    let folder = TemporaryFolder()
    let written = try checkpoint(test)
    try written.write(to: folder.path + "/model")
    #expect(
      try folder.contents().keys.sorted() == ["model/config.json", "model/model.safetensors"])
    let read = try Checkpoint(folder: folder.path + "/model")
    #expect(read.configuration == written.configuration)
    #expect(read.parameters.paths == written.parameters.paths)
    let tokens = try test.tokens(1, 9)
    try expectClose(
      read.model()(tokens), written.model()(tokens), within: 0, test.name)
    // Written over the first, from its own tensors.
    let bytes = try folder.contents()
    try read.write(to: folder.path + "/model")
    #expect(try folder.contents() == bytes)
  }

  @Test func halfPrecisionIsKept() throws {
    let folder = TemporaryFolder()
    let written = try checkpoint(ModelCase.all[6], dtype: .bfloat16)
    try written.write(to: folder.path + "/model")
    let read = try Checkpoint(folder: folder.path + "/model")
    #expect(read.parameters.tensors.allSatisfy { $0.dtype == .bfloat16 })
    let tokens = try ModelCase.all[6].tokens(1, 9)
    let logits = try read.model()(tokens)
    #expect(logits.dtype == .bfloat16)
    let exact = try LanguageModel(
      read.description, parameters: read.parameters.mapping { try $0.cast(to: .float32) })
    // Six layers of rounding to 8 bits.
    try expectClose(logits, exact(tokens), within: 0.03)
  }

  @Test func moreFilesComeAlongOrNothingDoes() throws {
    struct Refusal: Error {}
    let folder = TemporaryFolder()
    let path = folder.path + "/model"
    let checkpoint = try checkpoint(ModelCase.all[0])
    try checkpoint.write(to: path) { try AtomicFile.write("1", to: $0 + "/step") }
    let before = try folder.contents()
    #expect(before["model/step"] == [49])
    #expect(throws: Refusal.self) { try checkpoint.write(to: path) { _ in throw Refusal() } }
    #expect(try folder.contents() == before)
  }

  @Test func otherFoldersAreNotReplaced() throws {
    let folder = TemporaryFolder()
    try folder.write("home/letter", "x")
    #expect(throws: TensorError.self) {
      try checkpoint(ModelCase.all[0]).write(to: folder.path + "/home")
    }
    #expect(try folder.contents() == ["home/letter": [120]])
  }

  @Test func damageIsNamed() throws {
    let folder = TemporaryFolder()
    let path = folder.path + "/model"
    let original = try checkpoint(ModelCase.all[0])
    #expect(throws: ConfigurationError.self) { try Checkpoint(folder: path) }

    func rewritten(_ change: (inout [(path: String, tensor: Tensor)]) throws -> Void) throws {
      var pairs = zip(original.parameters.paths, original.parameters.tensors).map {
        (path: $0, tensor: $1)
      }
      try change(&pairs)
      try original.replacing(Parameters(pairs))
        .write(to: path)
    }
    try rewritten { $0.removeAll { $0.path == "norm.weight" } }
    func expect(_ reason: CheckpointError.Reason, _ words: String) {
      let error = #expect(throws: CheckpointError(folder: path, reason: reason)) {
        try Checkpoint(folder: path)
      }
      #expect(error?.description == path + words)
    }
    expect(
      .layers(.missingParameter(path: "norm.weight", expected: "float32 [16]")),
      ": parameter norm.weight is missing; it must be float32 [16]")
    try rewritten { $0.append((path: "stray", tensor: try .zeros([1]))) }
    expect(
      .layers(.unusedParameters(paths: ["stray"])), ": no layer uses the parameter stray")
    try rewritten { pairs in
      for place in pairs.indices where pairs[place].path == "norm.weight" {
        pairs[place].tensor = try .zeros([17])
      }
    }
    expect(
      .layers(
        .mismatchedParameter(path: "norm.weight", was: "float32 [17]", mustBe: "float32 [16]")),
      ": parameter norm.weight is float32 [17]; it must be float32 [16]")

    try original.write(to: path)
    let weights = try #require(try folder.contents()["model/model.safetensors"])
    try folder.write("model/model.safetensors", Array(weights.dropLast()))
    #expect(throws: TensorError.self) { try Checkpoint(folder: path) }
    try folder.write("model/config.json", "{ hidden_size: 16, layers: [] }")
    expect(
      .configuration(.invalidValue("layers", was: "empty", mustBe: "at least one layer")),
      "/config.json: layers is empty; it must be at least one layer")
    try folder.write("model/config.json", "{ layers: [")
    #expect(throws: ConfigurationError.self) { try Checkpoint(folder: path) }
  }
}
