import FoundationEssentials
import AttentionCLibrary
import Testing

/// `attention train` when the process is killed or the disk fails between two file operations.
@Suite struct KillTests {
  /// Killed before each of its file operations in turn, a run ends like an uninterrupted one: with the same
  /// bytes and nothing left over.
  ///
  /// The runs resume from a checkpoint, remove old ones and write new ones; or they start over.
  @Test(arguments: [[], ["--start-over"]])
  func aRunThatIsKilledAnywhereEndsAsIfItWasNot(_ flags: [String]) throws {
    let tiny = try TinyRun("checkpoint_interval: 1, kept_checkpoints: 1, log_interval: 2")
    func train(_ run: String, _ more: [String] = []) throws -> Tool.Outcome {
      try tiny.tool.run(tiny.arguments(run, "sample.tokens=0") + more)
    }
    // The starting point: a run after its first step, with fewer steps left for those that start over.
    let steps = ["training.steps=\(flags.isEmpty ? 3 : 1)"]
    #expect(try train("before", ["training.steps=1"]).exitCode == 0)
    func begin(_ run: String) throws {
      try FileManager.default.copyItem(
        atPath: tiny.tool.path("before"), toPath: tiny.tool.path(run))
    }
    try begin("whole")
    #expect(try train("whole", steps + flags).exitCode == 0)
    let whole = try tiny.files(of: "whole").filter { !$0.key.hasPrefix("configuration") }
    #expect(whole.count == 7, "\(whole.keys)")

    var operation = 1
    while true {
      let run = "killed-\(operation)"
      try begin(run)
      let fault = try FileFaults.environment(
        in: tiny.tool.path(run), "FAULT_KILL_AT=\(operation)")
      let killed = try tiny.tool.run(
        executable: "/usr/bin/env",
        fault + [Tool.executable] + tiny.arguments(run, "sample.tokens=0") + steps + flags)
      guard killed.exitCode != 0 else { break }
      try #require(killed.exitCode == 128 + SIGKILL, "\(killed.error)")
      let left = try tiny.tool.names(of: run)
      // Every checkpoint present is complete.
      for name in left where name.hasPrefix("checkpoint-") {
        #expect(try tiny.tool.names(of: run + "/" + name).count == 4, "\(run): \(name)")
      }
      let again = try train(run, steps)
      #expect(again.exitCode == 0, "\(run): \(again.error)")
      let files = try tiny.files(of: run).filter { !$0.key.hasPrefix("configuration") }
      #expect(files.keys.sorted() == whole.keys.sorted(), "\(run)")
      #expect(files == whole, "\(run) ends with other bytes")
      operation += 1
    }
    // A single checkpoint takes more operations than this.
    #expect(operation > 30)
  }

  @Test(arguments: ["fsync", "close"])
  func aDiskThatFailsIsNoticed(_ function: String) throws {
    let tiny = try TinyRun()
    #expect(try tiny.tool.run(tiny.arguments("run", "training.steps=1")).exitCode == 0)
    let fault = try FileFaults.environment(in: tiny.tool.path("run"), "FAULT_FAIL=\(function)")
    let outcome = try tiny.tool.run(
      executable: "/usr/bin/env", fault + [Tool.executable] + tiny.arguments("run"))
    #expect(outcome.exitCode == 2)
    #expect(outcome.error.contains("Input/output error"), "\(outcome.error)")
    #expect(outcome.error.contains(tiny.tool.path("run")), "\(outcome.error)")
  }
}
