import AttentionLanguageModels
import AttentionTensors
import Testing

@Suite struct LogitsTests {
  private static func trained() throws -> TinyRun {
    let tiny = try TinyRun()
    let outcome = try tiny.tool.run(tiny.arguments("run"))
    #expect(outcome.exitCode == 0, "\(outcome.error)")
    return tiny
  }

  private static let tokens: [Int32] = [102, 117, 110, 99, 0, 255, 10, 32]

  @Test func logitsAreTheModels() throws {
    let tool = try Self.trained().tool
    let mask = try Tensor([true, true, true, true, false, true, true, true], [2, 4])
    let narrow = try Tensor(Self.tokens, [2, 4])
    let model = try Checkpoint(folder: tool.path("run/checkpoint-3")).model()
    for (name, tokens) in [("int32", narrow), ("int64", try narrow.cast(to: .int64))] {
      try tool.write(["tokens": tokens, "padding_mask": mask], to: "\(name).safetensors")
      // The folder of a run stands for its latest checkpoint.
      for folder in ["run", "run/checkpoint-3"] {
        let outcome = try tool(
          "logits", tool.path(folder), tool.path("\(name).safetensors"), "-o",
          tool.path("out.safetensors"))
        #expect(outcome.exitCode == 0 && outcome.output.isEmpty, "\(outcome.error)")
        let file = try SafetensorsFile(path: tool.path("out.safetensors"))
        #expect(file.names == ["logits"])
        let logits = try file.tensor(named: "logits")
        #expect(logits.shape == [2, 4, 256] && logits.dtype == .float32)
        #expect(
          try logits.elements(as: Float.self)
            == model(narrow, paddingMask: mask).elements(as: Float.self))
      }
    }
  }

  @Test func mistakesNameTheTensor() throws {
    let tool = try Self.trained().tool
    func outcome(_ tensors: [String: Tensor]) throws -> Tool.Outcome {
      try tool.write(tensors, to: "in.safetensors")
      return try tool(
        "logits", tool.path("run"), tool.path("in.safetensors"), "-o", tool.path("out.safetensors"))
    }
    let tokens = try Tensor(Self.tokens, [1, 8])
    expectMistake(try outcome([:]), "in.safetensors: tokens [b,t] is missing")
    expectMistake(
      try outcome(["tokens": tokens, "mask": tokens]), "mask", "tokens, padding_mask")
    expectMistake(
      try outcome(["tokens": try tokens.cast(to: .float32)]), "tokens is Tensor(float32 [1, 8])",
      "int32")
    expectMistake(
      try outcome(["tokens": try Tensor([Int32(256)], [1, 1])]),
      "in.safetensors: tokens is with 256; it must be of numbers in 0..<256")
    expectMistake(
      try outcome(["tokens": try Tensor([Int64(1) << 32], [1, 1])]), "tokens is with 4294967296")
    expectMistake(
      try outcome(["tokens": tokens, "padding_mask": try Tensor([true], [1, 1])]),
      "padding_mask is Tensor(bool [1, 1])", "[1, 8]")
    expectMistake(
      try outcome(["tokens": tokens, "cumulative_lengths": try Tensor([Int32(0), 9], [2])]),
      "cumulative_lengths is [0, 9]")
    #expect(try !tool.names.contains("out.safetensors"))
    expectMistake(
      try tool("logits", tool.path("none"), tool.path("in.safetensors"), "-o", tool.path("out")),
      "none/config.json")
  }
}
