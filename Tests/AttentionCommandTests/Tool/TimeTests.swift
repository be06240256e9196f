import FoundationEssentials
import AttentionTensors
import Testing

@Suite struct TimeTests {
  struct Turn: Decodable {
    let kernel: String
    let seconds: Double
    let extraBytes: Int

    enum CodingKeys: String, CodingKey {
      case kernel, seconds
      case extraBytes = "extra_bytes"
    }
  }

  private func turns(_ outcome: Tool.Outcome) throws -> [Turn] {
    #expect(outcome.exitCode == 0, "\(outcome.error)")
    return try outcome.output.split(separator: "\n").map {
      try JSONDecoder().decode(Turn.self, from: Data($0.utf8))
    }
  }

  @Test(arguments: ["forward", "backward", "training"])
  func everyTurnIsALine(pass: String) throws {
    let tool = try Tool()
    try tool.write(try Samples.exact(), to: "in.safetensors")
    let lines = try turns(
      try tool(
        "time", "softmax", tool.path("in.safetensors"), "--pass", pass, "--turns", "3",
        "--turn-seconds", "0", "--kernel", "cpu.tiled"))
    #expect(lines.count == 3)
    #expect(lines.allSatisfy { $0.kernel == "cpu.tiled" && $0.seconds > 0 })
  }

  /// The gradients of queries, keys and values take memory that forward calls do not.
  @Test(arguments: ["backward", "training"])
  func gradientsAreComputedWhereTheFileHasNoneToBeginWith(_ pass: String) throws {
    let tool = try Tool()
    let tensors = try Samples.exact(batch: 1, queries: 4096, keys: 4096, heads: 4, keyHeads: 4)
    try tool.write(tensors, to: "in.safetensors")
    let gradientBytes = tensors.values.reduce(0) { $0 + $1.elementCount * $1.dtype.size }
    func extra(_ pass: String) throws -> Int {
      try turns(
        try tool(
          "time", "softmax", tool.path("in.safetensors"), "--pass", pass, "--turns", "1",
          "--turn-seconds", "0", "--kernel", "cpu.tiled"))[0].extraBytes
    }
    #expect(try extra(pass) >= extra("forward") + gradientBytes)
  }

  /// The memory of a call besides its output is that of its explanation, whatever the bias: it is not copied.
  @Test(arguments: [DType.float32, .bfloat16, .float16, .bool])
  func aBiasIsNotCopied(_ dtype: DType) throws {
    let tool = try Tool()
    let length = 3000
    var tensors = try Samples.exact(
      batch: 1, queries: length, keys: length, heads: 1, keyHeads: 1)
    tensors["bias"] = try .zeros([length, length], dtype: dtype)
    try tool.write(tensors, to: "in.safetensors")
    let extra = try turns(
      try tool(
        "time", "softmax", tool.path("in.safetensors"), "--turns", "1", "--turn-seconds", "0",
        "--kernel", "cpu.tiled"))[0].extraBytes
    // Working memory of the threads, and small blocks.
    #expect(extra < tensors["bias"]!.elementCount)
  }

  @Test func matrixProductsAreTimedToo() throws {
    let tool = try Tool()
    let matrix = try Samples.normal([3, 3], "matrix")
    try tool.write(["left": matrix, "right": matrix], to: "in.safetensors")
    let path = tool.path("in.safetensors")
    #expect(try turns(try tool("time", "matmul", path, "--turns", "1")).count == 1)
    let mistake = try tool("time", "matmul", path, "--pass", "backward")
    #expect(mistake.exitCode == 2 && mistake.error.contains("must be forward"))
    for seconds in ["nan", "inf", "1e30"] {
      expectMistake(
        try tool("time", "matmul", path, "--turn-seconds", seconds), "turn-seconds",
        "from 0 to 86400")
    }
  }

  @Test(arguments: ["ATTENTION_ISA=sse", "ATTENTION_THREADS=none"])
  func aVariableThatWouldBeIgnoredIsAMistake(variable: String) throws {
    let outcome = try Tool().run(
      executable: "/usr/bin/env", [variable, Tool.executable, "devices"])
    #expect(outcome.exitCode == 2)
    #expect(outcome.error.hasPrefix("attention: ATTENTION_"))
  }
}
