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
    #expect(outcome.output.contains("GFLOP/s"))
    // A GPU with its libraries, or where they were looked for and what to install.
    #expect(outcome.output.contains("cuda"))
    #expect(outcome.output.contains("NVRTC") || outcome.output.contains("install"))
  }

  /// Without the requested GPU nothing can be verified, which is an error.
  @Test func aDeviceThatIsNotThereIsAMistake() throws {
    let outcome = try Tool()("verify", "--quick", "--device", "cuda:4096")
    #expect(outcome.exitCode == 2)
    #expect(outcome.error.contains("cuda") && outcome.output.isEmpty)
  }
}
