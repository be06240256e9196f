import FoundationEssentials
import AttentionLayers
import AttentionTensors
import TestSupport
import Testing

@testable import AttentionLanguageModels

/// Damaged configurations and checkpoints give a model or an error.
@Suite struct CheckpointFuzzTests {
  private static let words = [
    "null", "true", "\"softmax\"", "\"cosine\"", "\"gated_linear\"", "type", "heads", "layers",
    "pattern",
    "hidden_size", "vocabulary_size", "window", "\"per_channel\"", "F32", "F16", "data_offsets",
    "[0,0]", "[1,0,1099511627776,8]",
  ]

  @Test func damagedCheckpointsAreReadOrRefused() throws {
    let folder = TemporaryFolder()
    for test in [ModelCase.all[0], ModelCase.all[ModelCase.all.count - 1]] {
      let scope = ParameterScope(seed: 5, dtype: .float32)
      _ = try LanguageModel(test.configuration, scope: scope)
      try Checkpoint(configuration: test.configuration, parameters: scope.parameters)
        .write(to: folder.path("model"))
      for name in ["model/config.json", "model/model.safetensors"] {
        let right = folder.bytes(name)
        var mutations = Mutations(of: [right], words: Self.words)
        for round in Mutations.rounds(500) {
          try folder.write(name, mutations.next())
          do { _ = try Checkpoint(folder: folder.path("model")).model() } catch {
            #expect(isPresentable(error), "\(name), round \(round): \(error)")
          }
        }
        try folder.write(name, right)
      }
    }
  }

  @Test func damagedJSON5IsReadOrRefused() throws {
    let seeds = [
      "{ // a comment\n model: { hidden_size: 0x10, names: ['b', \"c\\u0041\\x41\",], }, /* */ }",
      "[1, -2.5e3, .5, 5., +Infinity, NaN, null, true, [[[]]], {\"a\": {\"b\": []}}]",
    ]
    var mutations = Mutations(of: seeds.map { Array($0.utf8) }, words: Self.words)
    for round in Mutations.rounds(10_000) {
      let text = mutations.next()
      do {
        let value = try JSONValue(json5: Data(text), source: "fuzz")
        _ = try value.decoded(as: LanguageModelConfiguration.self)
      } catch {
        #expect(error is ConfigurationError && isPresentable(error), "round \(round): \(error)")
      }
    }
  }
}
