import FoundationEssentials
import AttentionLanguageModels
import TestSupport
import Testing

@testable import AttentionTraining

@Suite struct ConfigurationHistoryTests {
  private func configuration(_ change: (inout TrainingConfiguration) -> Void = { _ in }) throws
    -> TrainingConfiguration
  {
    var configuration = TrainingConfiguration(model: try TinyModel.configuration())
    change(&configuration)
    return configuration
  }

  /// Resumes a run after `step` steps and returns what has changed.
  private func take(
    _ folder: TemporaryFolder, after step: Int, _ change: (inout TrainingConfiguration) -> Void
  ) throws -> [String] {
    var history = try ConfigurationHistory(folder: folder.path, before: step)
    try history.take(configuration(change), after: step)
    try history.write(to: folder.path)
    return history.changes.map(\.description)
  }

  private func steps(_ folder: TemporaryFolder) throws -> [Int] {
    try ConfigurationHistory(folder: folder.path, before: .max).entries.map(\.afterStep)
  }

  @Test func everyConfigurationIsKeptWithTheStepItBeganAfter() throws {
    let folder = TemporaryFolder()
    #expect(try take(folder, after: 0) { _ in } == [])
    #expect(try take(folder, after: 10) { _ in } == [])
    #expect(try steps(folder) == [0])
    let changes = try take(folder, after: 20) {
      $0.training.learningRate = 0.5
      $0.data.paths = ["a", "b\u{7}"]
      $0.sample.topK = 3
    }
    #expect(
      changes == [
        #"data.paths was ["."] and is now ["a","b\u0007"]"#, "sample.top_k was absent and is now 3",
        "training.learning_rate was 0.003 and is now 0.5",
      ])
    #expect(try steps(folder) == [0, 20])
    let stored = try JSONValue(json5File: folder.path("configuration.json"))
      .decoded(as: TrainingConfiguration.self)
    #expect(stored.training.learningRate == 0.5)

    // Back at step 20, the steps taken with the other rate are dropped.
    #expect(
      try take(folder, after: 20) { $0.training.weightDecay = 0 } == [
        "training.weight_decay was 0.1 and is now 0"
      ])
    #expect(try steps(folder) == [0, 20])
    // A run that starts over has no history.
    #expect(try take(folder, after: 0) { $0.training.weightDecay = 1 } == [])
    #expect(try steps(folder) == [0])
  }

  /// Runs from before the history existed have only the last configuration.
  @Test func withoutAHistoryTheConfigurationIsTheFirst() throws {
    let folder = TemporaryFolder()
    let text = try JSONValue(encoding: configuration()).serialized()
    try folder.write("configuration.json", [UInt8](text))
    #expect(
      try take(folder, after: 7) { $0.training.steps = 2000 } == [
        "training.steps was 1000 and is now 2000"
      ])
    #expect(try steps(folder) == [0, 7])
  }

  @Test func aHistoryThatCannotBeReadIsNotReplaced() throws {
    let folder = TemporaryFolder()
    let path = try folder.write("configurations.jsonl", "{}\n")
    let error = #expect(throws: TrainingError.self) { _ = try take(folder, after: 1) { _ in } }
    #expect(error?.description.hasPrefix(path) == true)
    #expect(folder.bytes("configurations.jsonl") == Array("{}\n".utf8))
  }

  /// A file written by another program may have keys with control characters.
  @Test func keysAreEscaped() throws {
    let change = ConfigurationChange.between(
      .object(["a\u{1B}[2J": .integer(1)]), .object(["b_1": .array([.integer(2)])]))
    #expect(
      change.map(\.description) == [
        #""a\u001b[2J" was 1 and is now absent"#, "b_1 was absent and is now [2]",
      ])
  }
}
