import FoundationEssentials
import AttentionCLibrary
import AttentionLanguageModels
import AttentionTensors
import TestSupport
import Testing

@testable import AttentionTraining

@Suite struct CheckpointStoreTests {
  private func store(_ folder: TemporaryFolder) -> CheckpointStore {
    CheckpointStore(folder: folder.path("run"))
  }

  private func trainer(
    _ folder: TemporaryFolder, _ change: (inout TrainingConfiguration) -> Void = { _ in }
  ) throws -> Trainer {
    try TrainerTests().trainer(in: folder) {
      $0.training.steps = 4
      $0.training.checkpointInterval = 1
      $0.training.keptCheckpoints = 2
      change(&$0)
    }
  }

  /// Folders of other programs with names of checkpoints, one of them with a `trainer_state.json` as Transformers
  /// writes it.
  private func writeOthers(_ folder: TemporaryFolder, steps: [Int]) throws -> [String: [UInt8]] {
    for step in steps {
      try folder.write("run/checkpoint-\(step)/config.json", "{}")
      try folder.write("run/checkpoint-\(step)/model.safetensors", "precious")
      if step % 2 == 0 {
        try folder.write(
          "run/checkpoint-\(step)/trainer_state.json", #"{"epoch": 1.0, "global_step": \#(step)}"#)
      }
    }
    return try folder.contents(of: "run")
  }

  @Test func whatNoRunWroteIsNeitherContinuedFromNorRemoved() throws {
    let folder = TemporaryFolder()
    try folder.write("run/checkpoint-x/letter", "x")
    try folder.write("run/checkpoint-01/letter", "x")
    try folder.write("run/checkpoint--1/letter", "x")
    try folder.write("run/.unfinished-letter", "x")
    try folder.write("run/.removed-letters/letter", "x")
    let others = try writeOthers(folder, steps: [50, 51])
    for leftover in [
      ".unfinished-checkpoint-7/half", ".removed-checkpoint-7/half", ".unfinished-12-x",
    ] {
      try folder.write("run/" + leftover, "x")
    }
    _ = try trainer(folder).run()
    #expect(try store(folder).ownSteps == [3, 4])
    _ = try trainer(folder) { $0.training.steps = 5 }.run(start: .mustContinue)
    _ = try trainer(folder).run(start: .startOver, stopAfter: 1)
    #expect(try store(folder).ownSteps == [1])
    let after = try folder.contents(of: "run")
    for (name, bytes) in others { #expect(after[name] == bytes, "\(name)") }
    #expect(!after.keys.contains { $0.contains("checkpoint-7") || $0.contains("12-x") })
  }

  @Test(arguments: [3, 4]) func whatIsInTheWayIsNamedBeforeTheFirstStep(_ step: Int) throws {
    let folder = TemporaryFolder()
    let before = try writeOthers(folder, steps: [step])
    for start in [Trainer.Start.continueIfPossible, .startOver] {
      let error = #expect(throws: TrainingError.self) { _ = try trainer(folder).run(start: start) }
      guard case .checkpoint(let path, let reason)? = error else {
        Issue.record("\(String(describing: error))")
        continue
      }
      #expect(path == store(folder).path(step: step))
      #expect(reason.contains("trainer_state.json") && reason.contains("kept"), "\(reason)")
      #expect(
        try folder.contents(of: "run").filter { !$0.key.hasSuffix(RunLock.file) } == before)
    }
  }

  @Test func readingTheLatestFollowsATrainingThatGoesOn() throws {
    let folder = TemporaryFolder()
    _ = try trainer(folder).run()
    let store = store(folder)
    var tried: [String] = []
    let found = try store.readLatest { path in
      tried.append(path)
      if tried.count == 1 {
        // A concurrent training run's actions.
        try FileManager.default.copyItem(atPath: path, toPath: store.path(step: 5))
        try AtomicFolder.removeIfThere(path)
      }
      _ = try Checkpoint(folder: path)
      return path
    }
    #expect(found == store.path(step: 5))
    #expect(tried == [store.path(step: 4), store.path(step: 5)])
    // The error for a checkpoint that still exists is thrown, and an incomplete one is ignored.
    try folder.write("run/checkpoint-5/config.json", "{")
    #expect(throws: ConfigurationError.self) { try store.readLatest { try Checkpoint(folder: $0) } }
    unlink(store.path(step: 5) + "/config.json")
    #expect(store.latest == store.path(step: 3))
    #expect(try CheckpointStore(folder: folder.path("absent")).readLatest { $0 } == nil)
  }

  /// Replaces one value of a valid state.
  @Test(arguments: [
    ("step", "9223372036854775807"), ("step", "-4"), ("group.steps", "9223372036854775807"),
    ("group.steps", "-1"), ("position.epoch", "9223372036854775807"), ("position.epoch", "-1"),
    ("position.window", "-1"), ("position.window", "1000"),
    ("position.window", "9223372036854775807"),
    ("group.loss_sum", "'nan'"), ("curve.training.0.step", "-1"),
    ("curve.training.0.step", "9223372036854775807"), ("curve.training.0.bits_per_byte", "1e308"),
    ("curve.training.0.bits_per_byte", "-1e308"), ("curve.validation.0.step", "99"),
    ("curve", "{}"), ("data.seed", "'x'"), ("position.epoch", "0.5"),
  ])
  func valuesThatMakeNoSenseAreRefused(_ key: String, _ value: String) throws {
    let folder = TemporaryFolder()
    func short(_ configuration: inout TrainingConfiguration) {
      configuration.training.logInterval = 1
      configuration.training.validationInterval = 1
    }
    _ = try trainer(folder, short).run(stopAfter: 2)
    let path = "run/checkpoint-2/trainer_state.json"
    var tree = try JSONValue(json5File: folder.path(path))
    try ConfigurationOverride("\(key)=\(value)").apply(to: &tree)
    try folder.write(path, [UInt8](try tree.serialized()))
    let before = try folder.contents(of: "run")
    let error = #expect(throws: (any Error).self) { _ = try trainer(folder, short).run() }
    let message = "\(error.map { "\($0)" } ?? "")"
    #expect(message.contains(store(folder).path(step: 2)), "\(message)")
    #expect(try folder.contents(of: "run") == before)
  }

  @Test func aMomentOfAnotherShapeIsNamed() throws {
    let folder = TemporaryFolder()
    _ = try trainer(folder).run(stopAfter: 2)
    let path = folder.path("run/checkpoint-2/optimizer.safetensors")
    let file = try SafetensorsFile(path: path)
    var tensors = try file.names.map { (name: $0, tensor: try file.tensor(named: $0)) }
    let name = tensors[0].name
    tensors[0].tensor = try .zeros([1])
    try Safetensors.write(tensors, to: path)
    let error = #expect(throws: TrainingError.self) { _ = try trainer(folder).run() }
    #expect(error?.description.hasPrefix("\(path): \(name) is float32 [1]") == true)
  }
}
