import Testing

@Suite struct VerifyTests {
  @Test func quickVerificationIsGreenAndSaysWhatRan() throws {
    let tool = try Tool()
    let outcome = try tool("verify", "--quick", "--operator", "linear", "--seed", "7")
    #expect(outcome.exitCode == 0, "\(outcome.output)\(outcome.error)")
    #expect(outcome.output.contains("cases right"))
    #expect(!outcome.output.contains("FAIL"))
  }

  @Test func devicesSaysWhatThisBuildComputesOn() throws {
    let outcome = try Tool()("devices")
    #expect(outcome.exitCode == 0)
    #expect(outcome.output.contains("CPU kernels only"))
    #expect(outcome.output.contains("GFLOP/s"))
  }
}
