import AttentionLanguageModels
import TestSupport
import Testing

@testable import AttentionTraining

/// Damaged training configurations and overrides give a configuration or an error.
@Suite struct ConfigurationFuzzTests {
  private static let words = [
    "training", "steps", "model", "data", "sample", "paths", "precision", "\"bfloat16\"", "=", ".",
    "null",
    "output_directory", "learning_rate", "validation_fraction", "length",
  ]

  @Test func damagedConfigurationsAreReadOrRefused() throws {
    let folder = TemporaryFolder()
    let seed = """
      {
        model: { hidden_size: 16, layers: [{ type: "softmax", heads: 2 }, { type: "gated_linear" }] },
        data: { paths: ["text"], extensions: ["md"], validation_fraction: 0.1 },
        training: { steps: 20, length: 32, batch_size: 2, learning_rate: 1e-3, precision: "bfloat16" },
        sample: { prompt: "func ", tokens: 10 },
      }
      """
    let overrides = ["training.steps=20", "model.layers.0.heads=4", "data.paths=['a']"]
    var files = Mutations(of: [Array(seed.utf8)], words: Self.words)
    var changes = Mutations(of: overrides.map { Array($0.utf8) }, words: Self.words)
    for round in Mutations.rounds(3000) {
      try folder.write("config.json5", round % 2 == 0 ? files.next() : Array(seed.utf8))
      let override = String(decoding: changes.next(), as: UTF8.self)
      do {
        _ = try TrainingConfiguration(file: folder.path("config.json5"), overrides: [override])
      } catch {
        #expect(error is ConfigurationError && isPresentable(error), "round \(round): \(error)")
      }
    }
  }
}
