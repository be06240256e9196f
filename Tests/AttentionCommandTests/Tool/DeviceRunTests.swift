import AttentionTensors
import Testing

/// `attention run --device cuda` compared with the CPU.
@Suite struct DeviceRunTests {
  private static let device = "cuda:0"
  private static let hasGPU =
    Device(name: device).flatMap { try? DeviceQueue.shared(for: $0) } != nil

  static let runs: [(operation: String, flags: [String])] = [
    ("softmax", ["--causal", "--softcap", "2"]), ("cosine", ["--groups", "2"]),
    ("linear", ["--l2norm"]), ("linear", ["--normalize-weights"]), ("scan", []),
    ("selective", ["--softplus"]),
  ]

  @Test(.enabled(if: hasGPU, "needs an NVIDIA GPU, or the emulator of one"), arguments: runs)
  func outputsAndGradientsAreThoseOfTheProcessor(operation: String, flags: [String]) throws {
    let tool = try Tool()
    let isSelective = operation == "selective"
    var inputs =
      switch operation {
      case "selective": try Samples.selectiveScan()
      case "softmax", "cosine": try Samples.exact(batch: 1, queries: 9, keys: 9, keyHeads: 4)
      default: try Samples.usual(operation)
      }
    // Sums of weights must not cancel.
    for name in ["queries", "keys"] { inputs[name] = try inputs[name]?.absolute() }
    let output = try #require(inputs["values"] ?? inputs["inputs"]).shape
    inputs["output_gradient"] = try Samples.normal(output, "gradient")
    inputs["cumulative_lengths"] = try Tensor([0, 4, 4, 9] as [Int32])
    try tool.write(inputs, to: "in.safetensors")
    for device in ["cpu", Self.device] {
      let outcome = try tool.run(
        [
          "run", isSelective ? "scan" : operation, tool.path("in.safetensors"), "-o",
          tool.path("\(device).safetensors"), "--gradients", "--explain", "--device", device,
        ] + flags)
      #expect(outcome.exitCode == 0, "\(outcome.error)")
      #expect(outcome.output.contains(device == "cpu" ? "cpu." : "cuda."), "\(outcome.output)")
    }
    let expected = try SafetensorsFile(path: tool.path("cpu.safetensors"))
    let file = try SafetensorsFile(path: tool.path("\(Self.device).safetensors"))
    #expect(file.names.sorted() == expected.names.sorted())
    for name in expected.names {
      let own = try file.tensor(named: name).cast(to: .float64)
      let other = try expected.tensor(named: name).cast(to: .float64)
      let error = try (own - other).squared().sum().item()
      let size = try other.squared().sum().item()
      #expect(error.squareRoot() <= 1e-4 * size.squareRoot(), "\(name) of \(operation)")
    }
  }
}
