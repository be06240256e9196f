import SwiftAttention
import TestSupport
import Testing

/// The programs of the documentation do what their pages say; each checks its own results.
@Suite struct ProgramTests {
  @Test func firstCall() throws { try FirstCall.run() }

  @Test func ownKernel() throws { try OwnKernel.run() }

  @Test func ownOperation() throws { try OwnOperation.run() }

  @Test func ownMixer() throws {
    let folder = TemporaryFolder()
    try OwnMixer.run(folder: folder.path("model"))
    #expect(folder.names.contains("model"))
  }

  @Test func tokenizersPage() throws {
    let folder = TemporaryFolder()
    // A token for every byte.
    let lines = (0..<256).map { byte in
      let digits = String(byte, radix: 16)
      return "\(byte + 1) b'\\x\(digits.count < 2 ? "0" : "")\(digits)' 1\n"
    }
    try folder.write("model/rwkv_vocab.txt", lines.joined())
    try LandingPages.tokenizersPage(folder: folder.path("model"))
  }

  @Test func servingPage() async throws {
    let folder = TemporaryFolder()
    var configuration = LanguageModelConfiguration(
      hiddenSize: 8, layers: LayerSchedule([.gatedLinear(.init(heads: 2))]))
    configuration.vocabularySize = 256
    let scope = ParameterScope(seed: 1, dtype: .float32)
    _ = try LanguageModel(configuration, scope: scope)
    try Checkpoint(configuration: configuration, parameters: scope.parameters)
      .write(to: folder.path("model"))
    try await LandingPages.servingPage(folder: folder.path("model"))
  }

  @Test func landingPages() throws {
    try LandingPages.attentionPage()
    try LandingPages.tensorsPage()
    try LandingPages.readme()
  }

  @Test(.onGPU) func landingPagesOnGPU() throws { try LandingPages.tensorsPageOnGPU() }

  @Test func trainingAModel() throws {
    let folder = TemporaryFolder()
    for number in 0..<3 {
      let line = "func f\(number)(x: Int) -> Int { x + \(number) }\n"
      try folder.write("texts/\(number).txt", String(repeating: line, count: 100))
    }
    try TrainingAModel.run(texts: folder.path("texts"), output: folder.path("run"))
    #expect(folder.names.contains("run"))
    let tuned = try Set(
      folder.contents(of: "run/tuned").keys.compactMap { $0.split(separator: "/").last })
    #expect(tuned == ["config.json", "model.safetensors"])
  }

  @Test func fromPyTorch() throws {
    let folder = TemporaryFolder()
    var random = Philox(seed: 3)
    // The file that torch.nn.Linear(6, 3) is saved as.
    try Safetensors.write(
      [
        (name: "linear.weight", tensor: .normal([3, 6], using: &random)),
        (name: "linear.bias", tensor: .normal([3], using: &random)),
      ], to: folder.path("weights.safetensors"))
    try FromPyTorch.run(
      weights: folder.path("weights.safetensors"), results: folder.path("results.safetensors"))
    let results = try SafetensorsFile(path: folder.path("results.safetensors"))
    #expect(results.names.sorted() == ["linear.weight", "probabilities"])
  }
}
