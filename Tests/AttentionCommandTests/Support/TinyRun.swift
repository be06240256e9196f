import FoundationEssentials

/// A folder with a text and a configuration that trains in moments, and its runs.
struct TinyRun {
  let tool: Tool
  private let configuration: String

  /// - Parameters:
  ///   - settings: additional keys of the section `training`.
  ///   - run: the folder that the configuration names for the run.
  init(_ settings: String = "", into run: String? = nil) throws {
    let tool = try Tool()
    self.tool = tool
    let output = run.map { "output_directory: \"\(tool.path($0))\"," } ?? ""
    let text = String(repeating: "func f(x: Int) -> Int { x + 1 }\n", count: 200)
    for number in 0..<4 {
      try Data((text + "// \(number)\n").utf8).write(to: URL(filePath: tool.path("\(number).txt")))
    }
    configuration = tool.path("tiny.json5")
    let json = """
      {
        model: {
          vocabulary_size: 256, hidden_size: 16,
          layers: [{ type: "gated_linear", heads: 2 }, { type: "softmax", heads: 2 }],
        },
        data: { paths: ["."], extensions: ["txt"], validation_fraction: 0.25 },
        training: {
          steps: 3, batch_size: 2, length: 32, warmup_steps: 1, validation_tokens: 64,
          \(output) \(settings)
        },
        sample: { prompt: "func ", tokens: 12 },
      }
      """
    try Data(json.utf8).write(to: URL(filePath: configuration))
  }

  /// The arguments of a training run into the folder `run`.
  func arguments(_ run: String, _ more: String...) -> [String] {
    ["train", configuration, "training.output_directory=" + tool.path(run)] + more
  }

  /// Every file of a run by its name, without what depends on the clock.
  func files(of run: String) throws -> [String: [UInt8]] {
    var files: [String: [UInt8]] = [:]
    for name in try FileManager.default.subpathsOfDirectory(atPath: tool.path(run)) {
      guard let bytes = try? Data(contentsOf: URL(filePath: tool.path(run + "/" + name))) else {
        continue
      }
      files[name] = [UInt8](bytes)
    }
    files["metrics.jsonl"] = try metrics(of: run)
    return files
  }

  private func metrics(of run: String) throws -> [UInt8] {
    let text = try Data(contentsOf: URL(filePath: tool.path(run + "/metrics.jsonl")))
    return Array(
      String(decoding: text, as: UTF8.self).replacing(/"tokens_per_second":[-+.e0-9]*/, with: "")
        .utf8)
  }
}
