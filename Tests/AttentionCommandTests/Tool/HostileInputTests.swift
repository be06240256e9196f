import AttentionCLibrary
import FoundationEssentials
import AttentionTensors
import Testing

/// Untrusted inputs: sizes beyond all memory, names with control characters, malformed files, and outputs that
/// cannot be written.
@Suite struct HostileInputTests {
  /// A safetensors file with this header and no data.
  private func file(_ tool: Tool, _ header: String) throws -> String {
    let bytes = Array(header.utf8)
    let length = (0..<8).map { UInt8(truncatingIfNeeded: bytes.count >> (8 * $0)) }
    try Data(length + bytes).write(to: URL(filePath: tool.path("in")))
    return tool.path("in")
  }

  private static func tensors(_ shapes: KeyValuePairs<String, String>) -> String {
    let members = shapes.map {
      "\"\($0)\":{\"dtype\":\"F32\",\"shape\":\($1),\"data_offsets\":[0,0]}"
    }
    return "{\(members.joined(separator: ","))}"
  }

  @Test func emptyTensorsOfHugeExtents() throws {
    let tool = try Tool()
    let huge = Self.tensors([
      "queries": "[1,0,1099511627776,8]", "keys": "[1,0,1099511627776,8]",
      "values": "[1,0,1099511627776,8]",
    ])
    for operation in ["softmax", "cosine", "linear"] {
      let input = try file(tool, huge)
      expectMistake(
        try tool("run", operation, input, "-o", tool.path("out")), "of 1099511627776 heads")
    }
    expectMistake(
      try tool("explain", "softmax", "--shape", "queries=1x0x1099511627776x8"), "heads")
    let many = Self.tensors(["inputs": "[0,0,4611686018427387904]", "decay": "[0,0,1]"])
    expectMistake(try tool("run", "scan", file(tool, many), "-o", tool.path("out")), "impossible")
    #expect(!tool.exists("out"))
  }

  /// Explaining a call takes no memory for its tensors.
  @Test(arguments: [
    ["scan", "inputs=1x8x1073741824"], ["linear", "queries=1x8x1x1048576,values=1x8x1x1048576"],
    ["softmax", "queries=4096x1048576x1x8"],
    ["softmax", "queries=1x8x1x8,keys=1x8x1x8,values=1x8x1x16777216"],
  ])
  func explainingTakesNoMemory(arguments: [String]) throws {
    let tool = try Tool()
    let limited =
      "ulimit -v 1000000; exec \(Tool.executable) explain \(arguments[0]) --shape \(arguments[1])"
    let outcome = try tool.run(executable: "/bin/bash", ["-c", limited])
    #expect(outcome.exitCode == 0, "\(outcome.error)")
    #expect(outcome.output.contains("cpu."))
  }

  @Test func namesAreShownAndNotObeyed() throws {
    let tool = try Tool()
    let escape = Self.tensors([#"\u001b[31mred\u202e"#: "[0]"])
    let outcome = try tool("run", "scan", file(tool, escape), "-o", tool.path("out"))
    expectMistake(outcome, #"\u{1B}[31mred\u{202E}"#)
    #expect(!outcome.error.contains("\u{1B}"))
    let long = Self.tensors([String(repeating: "x", count: 3_000_000): "[0]"])
    let bounded = try tool("run", "scan", file(tool, long), "-o", tool.path("out"))
    expectMistake(bounded, "bytes)")
    #expect(bounded.error.utf8.count < 4000)
    try AtomicFile.write(
      "{ \"\(String(repeating: "y", count: 3_000_000))\": 1 }", to: tool.path("c.json5"))
    let key = try tool("train", tool.path("c.json5"))
    expectMistake(key, "unknown key")
    #expect(key.error.utf8.count < 4000)
  }

  @Test func filesThatAreNoneAreNotWaitedFor() throws {
    let tool = try Tool()
    mkfifo(tool.path("pipe"), 0o600)
    expectMistake(try tool("run", "scan", tool.path("pipe"), "-o", tool.path("out")), "regular")
    expectMistake(try tool("train", tool.path("pipe")), "regular")
    try tool.write(Samples.scan(), to: "in")
    expectMistake(try tool("run", "scan", tool.path("in"), "-o", tool.path("pipe")), "nobody reads")
  }

  @Test func overridesOfManyKeysAreRefused() throws {
    let tool = try Tool()
    try AtomicFile.write("{ model: { layers: [] } }", to: tool.path("c.json5"))
    let path = Array(repeating: "a", count: 3000).joined(separator: ".")
    expectMistake(try tool("train", tool.path("c.json5"), "\(path)=1"), "3000 keys")
  }

  /// Output that cannot be written is an error, in every subcommand.
  @Test(arguments: [
    ["devices"], ["kernels"], ["explain", "scan", "--shape", "inputs=1x8x8"], ["--help"],
    ["--version"], ["run", "scan", "in", "-o", "out", "--explain"],
    ["time", "scan", "in", "--turns", "1", "--turn-seconds", "0"],
    ["verify", "--quick", "--operator", "elementary"],
  ])
  func outputThatFailsIsAMistake(arguments: [String]) throws {
    let tool = try Tool()
    try tool.write(Samples.scan(), to: "in")
    let words = arguments.map { $0 == "in" || $0 == "out" ? tool.path($0) : $0 }
    let outcome = try tool.run(
      executable: "/bin/bash",
      ["-c", "exec \"$0\" \"$@\" > /dev/full", Tool.executable] + words)
    expectMistake(outcome, "standard output cannot be written: No space left on device")
    let closed = try tool.run(
      executable: "/bin/bash", ["-c", "exec \"$0\" \"$@\" >&-", Tool.executable] + words)
    expectMistake(closed, "standard output cannot be written: Bad file descriptor")
  }
}
