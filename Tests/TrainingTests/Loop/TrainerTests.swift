import AttentionCLibrary
import FoundationEssentials
import AttentionLanguageModels
import AttentionLayers
import AttentionTensors
import TestSupport
import Testing

@testable import AttentionTraining

@Suite struct TrainerTests {
  /// A tiny model on a tiny text, in which steps, groups, validations and checkpoints do not coincide.
  func trainer(
    in folder: TemporaryFolder, run: String = "run", on device: Device = .cpu,
    _ change: (inout TrainingConfiguration) -> Void = { _ in }
  ) throws -> Trainer {
    for document in 0..<6 {
      let lines = (0..<12).map { "let value\($0) = \($0 * document) + \(document)\n" }
      try folder.write("text/\(document).swift", lines.joined())
    }
    var configuration = TrainingConfiguration(model: try TinyModel.configuration())
    configuration.data.paths = ["text"]
    configuration.training.steps = 12
    configuration.training.batchSize = 2
    configuration.training.length = 16
    configuration.training.warmupSteps = 3
    configuration.training.logInterval = 5
    configuration.training.validationInterval = 4
    configuration.training.validationTokens = 64
    configuration.training.checkpointInterval = 5
    configuration.training.keptCheckpoints = 10
    configuration.training.outputDirectory = folder.path + "/" + run
    change(&configuration)
    return try Trainer(configuration, relativeTo: folder.path, device: device)
  }

  private func lines(_ folder: TemporaryFolder, _ run: String = "run") throws -> [JSONValue] {
    let text = try Data(contentsOf: URL(filePath: folder.path + "/\(run)/metrics.jsonl"))
    return try text.split(separator: UInt8(ascii: "\n")).map { line in
      // Only times may differ between runs.
      guard case .object(var members) = try JSONValue(json5: Data(line), source: "") else {
        return .null
      }
      members["tokens_per_second"] = nil
      return .object(members)
    }
  }

  @Test func aRunLearnsAndLeavesItsFiles() throws {
    let folder = TemporaryFolder()
    let trainer = try trainer(in: folder) {
      $0.training.steps = 40
      $0.training.learningRate = 0.01
      $0.training.keptCheckpoints = 2
    }
    var events: [String] = []
    let result = try trainer.run { event in
      switch event {
      case .started(let summary, let step):
        #expect(summary.steps == 40 && step == 0 && summary.parameterCount > 0)
      case .stepped(let progress): #expect(progress.steps == 40 && progress.tokensPerSecond > 0)
      case .metrics(let metrics): events.append("metrics \(metrics.step)")
      case .validated(let metrics): events.append("validated \(metrics.step)")
      case .savedCheckpoint(let path): events.append(path)
      case .stopped: Issue.record("nobody asked to stop")
      case .changed, .unlocked: Issue.record("nothing of the kind")
      }
    }
    #expect(result.isComplete)
    #expect(result.step == 40)
    #expect(events.last == folder.path + "/run/checkpoint-40")
    #expect(result.checkpoint == events.last)
    #expect(events.filter { $0.hasPrefix("metrics") }.count == 8)
    #expect(result.curve.validation.map(\.step) == [4, 8, 12, 16, 20, 24, 28, 32, 36, 40])
    let first = try #require(result.curve.training.first).bitsPerByte
    let last = try #require(result.curve.training.last).bitsPerByte
    #expect(last < first - 0.1, "the loss went from \(first) to \(last) bits per byte")
    let digits = result.validationBitsPerByte?.text(digits: 2) ?? ""
    #expect(result.lastLine == "validation \(digits) bits per byte")

    let files = try folder.contents(of: "run").keys.sorted()
    #expect(
      files
        == ["run/.lock"]
        + ["35", "40"].flatMap { step in
          ["config.json", "model.safetensors", "optimizer.safetensors", "trainer_state.json"]
            .map { "run/checkpoint-\(step)/\($0)" }
        } + [
          "run/configuration.json", "run/configurations.jsonl", "run/loss.svg",
          "run/metrics.jsonl",
        ])
    #expect(try lines(folder).count == 8 + 10)
  }

  @Test func resumedEqualsUninterruptedByteForByte() throws {
    let folder = TemporaryFolder()
    _ = try trainer(in: folder, run: "whole").run()
    // Stopped between events, on a group of steps, on a checkpoint, and right at the start.
    for stop in [1, 7, 8, 10, 11] {
      let result = try trainer(in: folder, run: "parts").run(start: .startOver, stopAfter: stop)
      #expect(!result.isComplete && result.step == stop)
      #expect(result.checkpoint == folder.path + "/parts/checkpoint-\(stop)")
      let end = try trainer(in: folder, run: "parts").run(start: .mustContinue)
      #expect(end.isComplete)
      let whole = try folder.contents(of: "whole/checkpoint-12")
      let parts = try folder.contents(of: "parts/checkpoint-12")
      #expect(whole.count == 4)
      for (name, bytes) in whole {
        let other = name.replacing("whole", with: "parts")
        #expect(parts[other] == bytes, "\(other) differs after a stop at step \(stop)")
      }
      #expect(try lines(folder, "parts") == lines(folder, "whole"), "stopped at step \(stop)")
      #expect(
        try folder.contents(of: "parts")["parts/loss.svg"]
          == folder.contents(of: "whole")["whole/loss.svg"])
    }
  }

  /// Resumed from float32 parameters, which are rounded again, it must be the same run.
  @Test func halfPrecisionLearnsAlikeAndIsResumedByteForByte() throws {
    let folder = TemporaryFolder()
    func run(_ name: String, _ precision: Precision, stopAfter: Int? = nil) throws
      -> TrainingResult
    {
      try trainer(in: folder, run: name) {
        $0.training.steps = 40
        $0.training.learningRate = 0.01
        $0.training.keptCheckpoints = 1
        $0.training.precision = precision
      }.run(stopAfter: stopAfter)
    }
    let wide = try run("wide", .float32)
    let half = try run("half", .bfloat16)
    _ = try run("parts", .bfloat16, stopAfter: 13)
    _ = try run("parts", .bfloat16)
    let whole = try folder.contents(of: "half/checkpoint-40")
    let parts = try folder.contents(of: "parts/checkpoint-40")
    for (name, bytes) in whole {
      #expect(parts[name.replacing("half", with: "parts")] == bytes, "\(name)")
    }
    let stored = try Checkpoint(folder: #require(half.checkpoint)).parameters
    #expect(stored.tensors.allSatisfy { $0.dtype == .float32 })
    #expect(
      try stored.tensors.contains {
        try $0.elements(as: Float.self).contains { BFloat16($0).float != $0 }
      })
    let (expected, actual) = try (
      #require(wide.validationBitsPerByte), #require(half.validationBitsPerByte)
    )
    // bfloat16's three digits change a loss of a few bits by a few hundredths.
    #expect(abs(actual - expected) < 0.05, "\(actual) is not \(expected)")
    #expect(actual != expected)
  }

  @Test func aKilledRunContinuesFromItsLastCheckpoint() throws {
    let folder = TemporaryFolder()
    _ = try trainer(in: folder, run: "whole").run()
    let whole = try folder.contents(of: "whole")
    // What a run killed while writing its checkpoint after step 10 leaves: metrics beyond the checkpoint of
    // step 5, a truncated line and an incomplete folder.
    for (name, bytes) in whole where !name.contains("checkpoint-1") {
      try folder.write(name.replacing("whole", with: "killed"), bytes)
    }
    try folder.write("killed/.unfinished-checkpoint-10/model.safetensors", "half")
    let metrics = try #require(whole["whole/metrics.jsonl"])
    try folder.write("killed/metrics.jsonl", metrics + Array("{\"step\":5,\"lo".utf8))
    #expect(CheckpointStore(folder: folder.path + "/killed").steps == [5])

    _ = try trainer(in: folder, run: "killed").run()
    let killed = try folder.contents(of: "killed")
    #expect(killed.count == whole.count)
    for (name, bytes) in whole where name.contains("checkpoint-") {
      #expect(killed[name.replacing("whole", with: "killed")] == bytes, "\(name)")
    }
    #expect(try lines(folder, "killed") == lines(folder, "whole"))
  }

  /// Short sequences, and ones long enough to be split among threads.
  @Test(arguments: [(batchSize: 2, length: 16), (1, 1200)])
  func threadsDoNotChangeCheckpoints(_ batchSize: Int, _ length: Int) throws {
    let folder = TemporaryFolder()
    for count in [1, 2, 3, 8] {
      let run = try trainer(in: folder, run: "on-\(count)") {
        if length > 16 { $0.training.steps = 3 }
        $0.training.batchSize = batchSize
        $0.training.length = length
      }
      _ = try withThreads(count) { try run.run() }
    }
    let alone = try folder.contents(of: "on-1")
    for count in [2, 3, 8] {
      let several = try folder.contents(of: "on-\(count)")
      for (name, bytes) in alone where name.contains("checkpoint-") {
        #expect(several[name.replacing("on-1/", with: "on-\(count)/")] == bytes, "\(name)")
      }
    }
  }

  @Test func aRequestToStopIsHeardBetweenSteps() throws {
    let folder = TemporaryFolder()
    var asked = 0
    var stops: [Int] = []
    let result = try trainer(in: folder).run(
      report: { if case .stopped(let step, _) = $0 { stops.append(step) } },
      shouldStop: {
        asked += 1
        return asked == 3
      })
    #expect(asked == 3)
    #expect(stops == [3])
    #expect(!result.isComplete && result.step == 3)
    #expect(result.lastLine == "not validated yet")
    #expect(CheckpointStore(folder: folder.path + "/run").steps == [3])
  }

  @Test func aFinishedRunIsNotTrainedFurther() throws {
    let folder = TemporaryFolder()
    let first = try trainer(in: folder).run()
    let before = try folder.contents(of: "run")
    let second = try trainer(in: folder).run()
    #expect(second == first)
    #expect(try folder.contents(of: "run") == before)
    // More steps may be requested, with the same text and batches.
    let longer = try trainer(in: folder) { $0.training.steps = 14 }.run(start: .mustContinue)
    #expect(longer.step == 14)
    // Fewer steps than were done: nothing is trained, and the existing model is validated.
    _ = try trainer(in: folder).run(start: .startOver, stopAfter: 3)
    let shorter = try trainer(in: folder) { $0.training.steps = 2 }.run()
    #expect(shorter.isComplete && shorter.step == 3)
    #expect(shorter.curve.validation.map(\.step) == [3])
  }

  @Test func modelsThatCannotBeTrainedAreRefusedBeforeAnythingIsWritten() throws {
    let folder = TemporaryFolder()
    func error(_ text: String) throws -> String? {
      let model = try TinyModel.configuration()
      var tree = try JSONValue(encoding: model)
      try ConfigurationOverride(text).apply(to: &tree)
      return #expect(throws: ConfigurationError.self) {
        let changed = try tree.decoded(as: LanguageModelConfiguration.self)
        _ = try trainer(in: folder) { $0.model = .configuration(changed) }.run()
      }?.description
    }
    for size in [100, 1000] {
      #expect(
        try error("vocabulary_size=\(size)")
          == "model.vocabulary_size is \(size); it must be 256, one token per byte")
    }
    #expect(try error("layers.0.heads=3")?.contains("layers.0") == true)
    #expect(access(folder.path + "/run", F_OK) != 0)
  }

  @Test func whatCannotBeContinuedIsRefusedAndUnharmed() throws {
    let folder = TemporaryFolder()
    #expect(throws: TrainingError.self) { _ = try trainer(in: folder).run(start: .mustContinue) }
    #expect(access(folder.path + "/run", F_OK) != 0)
    _ = try trainer(in: folder).run(stopAfter: 2)
    let before = try folder.contents(of: "run")
    let otherModel = try TinyModel.configuration(TinyModel.otherText)
    let changes: [(String, (inout TrainingConfiguration) -> Void)] = [
      ("training.batch_size was 2", { $0.training.batchSize = 3 }),
      ("training.length was 16", { $0.training.length = 8 }),
      ("training.seed was 0", { $0.training.seed = 1 }),
      ("the text has changed", { $0.data.validationFraction = 0.3 }),
      ("another configuration", { $0.model = .configuration(otherModel) }),
    ]
    for (reason, change) in changes {
      let error = #expect(throws: TrainingError.self) {
        _ = try trainer(in: folder, change).run()
      }
      #expect(error?.description.contains(reason) == true, "\(error?.description ?? "")")
      #expect(try folder.contents(of: "run") == before)
    }
    let error = #expect(throws: TrainingError.self) {
      _ = try trainer(in: folder) { $0.training.seed = 1 }.run()
    }
    #expect(error?.description.contains("--start-over") == true)
    try folder.write("run/checkpoint-2/optimizer.safetensors", "broken")
    #expect(throws: TensorError.self) { _ = try trainer(in: folder).run() }
    #expect(try trainer(in: folder).run(start: .startOver).isComplete)
  }

  /// A learning rate so large that the resulting model has no finite loss.
  private func diverges(_ configuration: inout TrainingConfiguration) {
    configuration.training.learningRate = 1e38
    configuration.training.warmupSteps = 0
    configuration.training.checkpointInterval = 1
    configuration.training.keptCheckpoints = 1
  }

  @Test func aLossThatIsNoNumberStopsTheRunAndKeepsTheLastGoodCheckpoint() throws {
    let folder = TemporaryFolder()
    _ = try trainer(in: folder).run(stopAfter: 2)
    let before = try folder.contents(of: "run/checkpoint-2")
    for _ in 0..<2 {
      let error = #expect(throws: TrainingError.self) {
        _ = try trainer(in: folder, diverges).run()
      }
      guard case .diverged(let step, _, _)? = error else {
        Issue.record("\(String(describing: error))")
        return
      }
      // Step 3 made the model that step 4 fails with.
      #expect(step == 4)
      #expect(error?.description.contains("--start-over") == true)
      #expect(CheckpointStore(folder: folder.path + "/run").steps == [2])
      #expect(try folder.contents(of: "run/checkpoint-2") == before)
    }
    #expect(try trainer(in: folder).run().isComplete)
    // Continues like an uninterrupted run.
    _ = try trainer(in: folder, run: "whole").run()
    #expect(
      try folder.contents(of: "run/checkpoint-12")["run/checkpoint-12/model.safetensors"]
        == folder.contents(of: "whole/checkpoint-12")["whole/checkpoint-12/model.safetensors"])
  }

  @Test func aValidationLossThatIsNoNumberStopsTheRunToo() throws {
    let folder = TemporaryFolder()
    _ = try trainer(in: folder).run(stopAfter: 2)
    let error = #expect(throws: TrainingError.self) {
      _ = try trainer(in: folder) {
        diverges(&$0)
        // Infinite in float32, and so are the weights.
        $0.training.learningRate = 1e300
        $0.training.steps = 3
      }.run()
    }
    guard case .validationDiverged(step: 3, _)? = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(CheckpointStore(folder: folder.path + "/run").steps == [2])
    #expect(try trainer(in: folder).run().isComplete)
  }

  /// A run killed between its last checkpoint and drawing its loss curve has no steps left.
  @Test func thePictureIsThatOfTheLastCheckpoint() throws {
    let folder = TemporaryFolder()
    _ = try trainer(in: folder).run()
    let before = try folder.contents(of: "run")
    for text in ["old", nil] {
      unlink(folder.path("run/loss.svg"))
      if let text { try folder.write("run/loss.svg", text) }
      _ = try trainer(in: folder).run()
      #expect(try folder.contents(of: "run") == before)
    }
    // A run that starts over has none yet.
    _ = try trainer(in: folder).run(start: .startOver, stopAfter: 1)
    #expect(folder.bytes("run/loss.svg") != before["run/loss.svg"])
  }

  @Test func aRunHoldsItsFolder() throws {
    let folder = TemporaryFolder()
    var refusals = 0
    _ = try trainer(in: folder).run(
      report: { event in
        guard case .stepped(let progress) = event, progress.step == 6 else { return }
        let error = #expect(throws: TrainingError.self) {
          _ = try trainer(in: folder).run(start: .startOver)
        }
        if case .inUse? = error { refusals += 1 }
      })
    #expect(refusals == 1)
    #expect(try trainer(in: folder).run().isComplete)
  }

  @Test func aFullDiskLeavesOlderCheckpointsAlone() async {
    await #expect(processExitsWith: .success) {
      let folder = TemporaryFolder()
      let suite = TrainerTests()
      _ = try suite.trainer(in: folder).run(stopAfter: 2)
      let before = try folder.contents(of: "run/checkpoint-2")
      // The file size limit keeps the next checkpoint's tensors from being written.
      signal(SIGXFSZ, SIG_IGN)
      var limit = rlimit(rlim_cur: 8192, rlim_max: .max)
      setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit)
      let error = #expect(throws: TensorError.self) {
        _ = try suite.trainer(in: folder).run(stopAfter: 4)
      }
      limit.rlim_cur = .max
      setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit)
      #expect(error?.description.contains("File too large") == true)
      #expect(try folder.contents(of: "run/checkpoint-2") == before)
      #expect(CheckpointStore(folder: folder.path + "/run").steps == [2])
      #expect(try folder.contents(of: "run").keys.allSatisfy { !$0.contains(".unfinished") })
      #expect(try suite.trainer(in: folder).run().isComplete)
    }
  }

  @Test func configurationsAreReadFromFilesWithOverrides() throws {
    let folder = TemporaryFolder()
    let file = try folder.write(
      "tiny.json5",
      "{model: \(TinyModel.text), data: {paths: 'text'}, training: {steps: 5} /* few */ }")
    let read = try TrainingConfiguration(file: file, overrides: ["training.steps=7"])
    #expect(read.training.steps == 7)
    #expect(read.data.paths == ["text"])
    let error = #expect(throws: ConfigurationError.self) {
      _ = try TrainingConfiguration(file: file, overrides: ["training.step=7"])
    }
    #expect(
      error
        == .unknownKey(
          "training.step", nearest: "steps",
          known: TrainingSettings.CodingKeys.allCases.map(\.stringValue)))
    #expect(throws: ConfigurationError.self) {
      _ = try TrainingConfiguration(file: file, overrides: ["trainings.steps=7"])
    }
  }
}
