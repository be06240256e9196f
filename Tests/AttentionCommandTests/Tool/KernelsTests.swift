import Tensors
import Testing

@Suite struct KernelsTests {
  /// Lists what is in the folder that the environment names, and removes nothing else from it.
  @Test func listsAndClears() throws {
    let tool = try Tool()
    func kernels(_ flags: String...) throws -> Tool.Outcome {
      try tool.run(
        executable: "/usr/bin/env",
        ["ATTENTION_KERNEL_CACHE=\(tool.folder)", Tool.executable, "kernels"] + flags)
    }
    try AtomicFile.write("machine code", to: tool.path("a.cubin"))
    try AtomicFile.write("mine", to: tool.path("notes"))
    let listed = try kernels()
    #expect(listed.exitCode == 0)
    #expect(listed.output.contains("a.cubin  12 bytes"), "\(listed.output)")
    #expect(listed.output.contains("attention/forward.cu"))
    let cleared = try kernels("--clear")
    #expect(cleared.output.hasPrefix("1 compiled kernels removed"), "\(cleared.output)")
    #expect(!tool.exists("a.cubin") && tool.exists("notes"))
  }
}
