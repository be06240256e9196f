import FoundationEssentials
import AttentionCLibrary
import Testing

/// How `attention train` handles other processes, signals, and other files in its folder.
@Suite struct RunFolderTests {
  /// A run with more steps than it has time for, after its first checkpoint.
  private func longRun(_ tiny: TinyRun, before words: [String] = []) throws -> Tool.Running {
    let running = try tiny.tool.start(
      executable: "/usr/bin/env",
      words + [Tool.executable] + tiny.arguments("run", "training.steps=1000000"), name: "long")
    for _ in 0..<3000 {
      let names = (try? tiny.tool.names(of: "run")) ?? []
      if names.contains(where: { $0.hasPrefix("checkpoint-") }) { return running }
      usleep(10_000)
    }
    running.send(SIGKILL)
    throw Tool.Failure("no checkpoint after 30 seconds: \(try running.outcome().error)")
  }

  @Test(arguments: [SIGINT, SIGTERM, SIGHUP])
  func aSignalSavesACheckpointAndIsTheExitCode(_ signal: Int32) throws {
    let tiny = try TinyRun("checkpoint_interval: 1, kept_checkpoints: 1")
    let running = try longRun(tiny)
    running.send(signal)
    let outcome = try running.outcome()
    #expect(outcome.exitCode == 128 + signal)
    let stop = try #require(outcome.error.firstMatch(of: /stopped after step ([0-9]+) of 1000000/))
    #expect(try tiny.tool.names(of: "run").contains("checkpoint-\(stop.1)"), "\(outcome.error)")
    // No sample, only the last line.
    #expect(outcome.output == "not validated yet\n" || outcome.output.hasPrefix("validation "))
  }

  @Test func nohupIsRespected() throws {
    let tiny = try TinyRun("checkpoint_interval: 1, kept_checkpoints: 1")
    let running = try longRun(tiny, before: ["nohup"])
    running.send(SIGHUP)
    usleep(200_000)
    running.send(SIGTERM)
    #expect(try running.outcome().exitCode == 128 + SIGTERM)
  }

  @Test func quitEndsTheToolAtOnceAndWithoutAStack() throws {
    let tiny = try TinyRun("checkpoint_interval: 1, kept_checkpoints: 1")
    // Without a core dump.
    let running = try longRun(tiny, before: ["sh", "-c", #"ulimit -c 0; exec "$0" "$@""#])
    running.send(SIGQUIT)
    let outcome = try running.outcome()
    #expect(outcome.exitCode == 128 + SIGQUIT)
    #expect(!outcome.error.contains("crashed"), "\(outcome.error)")
  }

  @Test func twoRunsDoNotShareAFolder() throws {
    let tiny = try TinyRun("checkpoint_interval: 1, kept_checkpoints: 1")
    let first = try longRun(tiny)
    for flags in [[], ["--resume"], ["--start-over"]] {
      let second = try tiny.tool.run(tiny.arguments("run") + flags)
      expectMistake(second, tiny.tool.path("run"), "process \(first.id) on ", " since 20")
    }
    first.send(SIGTERM)
    #expect(try first.outcome().exitCode == 128 + SIGTERM)
    #expect(try tiny.tool.run(tiny.arguments("run", "--start-over")).exitCode == 0)
  }

  @Test func generationBesideATrainingThatRemovesCheckpointsNeverFails() throws {
    let tiny = try TinyRun("checkpoint_interval: 1, kept_checkpoints: 1")
    let training = try longRun(tiny)
    for number in 0..<40 {
      let outcome = try tiny.tool.run([
        "generate", tiny.tool.path("run"), "--prompt", "f", "--tokens", "1",
      ])
      #expect(outcome.exitCode == 0, "\(number): \(outcome.error)")
    }
    training.send(SIGKILL)
    _ = try training.outcome()
  }

  @Test func aFinishedRunSaysSoAndWhatToDo() throws {
    let tiny = try TinyRun()
    #expect(try tiny.tool.run(tiny.arguments("run")).exitCode == 0)
    let before = try tiny.files(of: "run")
    let again = try tiny.tool.run(tiny.arguments("run", "training.steps=2"))
    #expect(again.exitCode == 0)
    #expect(again.error.contains("is complete: step 3 is done and training.steps is 2"))
    #expect(again.error.contains("--start-over"))
    #expect(!again.error.contains("continuing"))
    #expect(try tiny.files(of: "run") == before)
  }

  @Test func whatARunContinuesWithIsSaidAndKept() throws {
    let tiny = try TinyRun()
    #expect(try tiny.tool.run(tiny.arguments("run", "training.steps=2")).exitCode == 0)
    let more = try tiny.tool.run(tiny.arguments("run", "training.learning_rate=0.001"))
    #expect(more.exitCode == 0)
    for change in [
      "training.learning_rate was 0.003 and is now 0.001", "training.steps was 2 and is now 3",
    ] {
      #expect(more.error.contains(change), "\(more.error)")
    }
    let history = try Data(contentsOf: URL(filePath: tiny.tool.path("run/configurations.jsonl")))
    let lines = String(decoding: history, as: UTF8.self).split(separator: "\n")
    #expect(lines.count == 2)
    #expect(lines[0].hasPrefix("{\"after_step\":0,") && lines[1].hasPrefix("{\"after_step\":2,"))
    // The error for a run that cannot be resumed says how to proceed.
    expectMistake(
      try tiny.tool.run(tiny.arguments("run", "training.seed=1")), "training.seed was 0",
      "--start-over", tiny.tool.path("run"))
  }

  @Test func theFolderIsCalledLikeTheConfiguration() throws {
    let tiny = try TinyRun()
    let outcome = try tiny.tool.run(
      executable: "/usr/bin/env",
      ["-C", tiny.tool.folder, Tool.executable, "train", "tiny.json5", "sample.tokens=0"])
    #expect(outcome.exitCode == 0, "\(outcome.error)")
    #expect(tiny.tool.exists("runs/tiny/checkpoint-3"))
  }

  @Test(arguments: [
    "metrics.jsonl", "loss.svg", "configuration.json", "configurations.jsonl", ".lock",
  ])
  func linksAndPipesInTheFolderAreRefused(_ name: String) throws {
    let tiny = try TinyRun()
    #expect(try tiny.tool.run(tiny.arguments("run", "training.steps=1")).exitCode == 0)
    let (path, target) = (tiny.tool.path("run/" + name), tiny.tool.path("target"))
    try Data("mine".utf8).write(to: URL(filePath: target))
    for make in [{ symlink(target, path) }, { mkfifo(path, 0o600) }, { mkdir(path, 0o700) }] {
      try FileManager.default.removeItem(atPath: path)
      #expect(make() == 0)
      for flags in [[], ["--start-over"]] {
        expectMistake(try tiny.tool.run(tiny.arguments("run") + flags), path)
      }
      #expect(try tiny.tool.names(of: "run").contains("checkpoint-1"))
    }
    #expect(try Data(contentsOf: URL(filePath: target)) == Data("mine".utf8))
  }

  @Test func aLinkThatLeadsNowhereDoesNotStopARun() throws {
    let tiny = try TinyRun()
    try FileManager.default.createDirectory(
      atPath: tiny.tool.path("run"), withIntermediateDirectories: true)
    #expect(
      symlink(tiny.tool.path("nowhere"), tiny.tool.path("run/.unfinished-checkpoint-3")) == 0)
    #expect(try tiny.tool.run(tiny.arguments("run")).exitCode == 0)
    #expect(!tiny.tool.exists("nowhere"))
  }

  @Test func aNameWithNULIsRefused() throws {
    let tiny = try TinyRun()
    expectMistake(
      try tiny.tool.run(
        ["train", tiny.tool.path("tiny.json5"), #"training.output_directory="a\u0000b""#]),
      "training.output_directory", "NUL")
    expectMistake(
      try tiny.tool.run(["train", tiny.tool.path("tiny.json5"), #"data.paths="a\u0000b""#]),
      "data.paths.0", "NUL")
  }
}
