import AttentionOperators
import FoundationEssentials
import Testing

@Suite struct ExplainTests {
  @Test func theTableHasEveryKernelAndItsObjection() throws {
    let tool = try Tool()
    let outcome = try tool(
      "explain", "softmax", "--shape", "queries=2x1024x8x64,keys=2x512x2x64", "--causal",
      "--dtype", "float64")
    #expect(outcome.exitCode == 0, "\(outcome.error)")
    // A program of the documentation, which may run beside this, registers a kernel of its own.
    for kernel in ExactAttention.kernels where kernel.name != "cpu.rows" {
      #expect(outcome.output.contains(kernel.name))
    }
    #expect(outcome.output.contains(">  cpu.reference"))
    // A long reason goes on in the next line.
    let words = outcome.output.split { $0.isWhitespace }.joined(separator: " ")
    #expect(words.contains("needs float32, bfloat16 or float16 inputs, was float64"))
    #expect(outcome.output.split(separator: "\n").allSatisfy { $0.count <= 120 })
  }

  @Test func jsonIsTheVerdict() throws {
    let tool = try Tool()
    let outcome = try tool(
      "explain", "linear", "--shape", "queries=1x4096x4x64,decay=1x4096x4", "--json")
    #expect(outcome.exitCode == 0, "\(outcome.error)")
    #expect(!outcome.output.contains(/"[a-z]+[A-Z]\w*" :/))
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    let verdict = try decoder.decode(Explanation.self, from: Data(outcome.output.utf8))
    #expect(verdict.chosen != nil && verdict.chosen == verdict.candidates.first?.kernel)
    #expect(Set(verdict.candidates.map(\.kernel)) == Set(LinearAttention.kernels.map(\.name)))
  }

  @Test func kernelsThatObjectForTheSameReasonShareALine() throws {
    let outcome = try Tool()("explain", "softmax", "--shape", "queries=1x1024x8x64")
    #expect(outcome.exitCode == 0, "\(outcome.error)")
    let lines = outcome.output.split(separator: "\n").map(String.init)
    let other = ExactAttention.kernels.map(\.name).filter { $0.hasPrefix("cuda.") }
    #expect(other.count > 1)
    #expect(
      lines.filter { $0.contains("cuda.") }
        == ["   " + other.joined(separator: ", ") + ": runs on a GPU, not on cpu"])
  }

  @Test func scansNeedFewShapes() throws {
    let tool = try Tool()
    let gated = try tool("explain", "scan", "--shape", "inputs=1x4096x512")
    #expect(gated.exitCode == 0, "\(gated.error)")
    #expect(gated.output.contains("gatedScan"))
    let selective = try tool(
      "explain", "scan", "--shape", "inputs=1x4096x512,state_matrix=512x16", "--gradients")
    #expect(selective.exitCode == 0, "\(selective.error)")
    #expect(selective.output.contains("selectiveScan"))
    for kernel in SelectiveScan.kernels { #expect(selective.output.contains(kernel.name)) }
    expectMistake(try tool("explain", "scan", "--shape", "queries=1x2x3"), "inputs")
  }

  @Test func tensorsLargerThanMemoryTakeNone() throws {
    let tool = try Tool()
    // The queries alone would take 16 TiB.
    let outcome = try tool(
      "explain", "linear", "--shape", "queries=1048576x8192x8x64,cumulative_lengths=2")
    expectMistake(outcome, "batch")
    let long = try tool("explain", "linear", "--shape", "queries=1048576x8192x8x64")
    #expect(long.exitCode == 0, "\(long.error)")
  }

  @Test func aForcedKernelThatObjectsIsAMistakeWithTheTable() throws {
    let tool = try Tool()
    let outcome = try tool(
      "explain", "linear", "--shape", "queries=1x64x4x64", "--gradients", "--kernel", "cpu.step")
    expectMistake(outcome, "cpu.step objects", "gradients")
    #expect(outcome.output.contains("cpu.chunked"))
  }
}
