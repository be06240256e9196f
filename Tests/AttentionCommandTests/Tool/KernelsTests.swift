import AttentionCLibrary
import AttentionTensors
import Testing

@Suite struct KernelsTests {
  /// Lists the folder that the environment names, and removes nothing but entries from it.
  @Test func listsAndClears() throws {
    let tool = try Tool()
    func kernels(_ flags: String...) throws -> Tool.Outcome {
      try tool.run(
        executable: "/usr/bin/env",
        ["ATTENTION_KERNEL_CACHE=\(tool.folder)", Tool.executable, "kernels"] + flags)
    }
    let hash = String(repeating: "a0", count: 32)
    let entry = "swift-attention kernel 1\n\(hash)\n"
    chmod(tool.folder, 0o700)
    try AtomicFile.write(entry, to: tool.path("\(hash).cubin"))
    try AtomicFile.write("machine code", to: tool.path("a.cubin"))
    try AtomicFile.write("mine", to: tool.path("notes"))
    chmod(tool.path("\(hash).cubin"), 0o600)
    let listed = try kernels()
    #expect(listed.exitCode == 0)
    #expect(
      listed.output.contains("\(hash).cubin  \(entry.utf8.count) bytes"), "\(listed.output)")
    #expect(listed.output.contains("attention/forward.cu"))
    let cleared = try kernels("--clear")
    #expect(cleared.output.hasPrefix("1 compiled kernels removed"), "\(cleared.output)")
    #expect(!tool.exists("\(hash).cubin"))
    #expect(tool.exists("a.cubin") && tool.exists("notes"))
  }
}
