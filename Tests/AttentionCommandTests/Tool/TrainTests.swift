import FoundationEssentials
import Testing

/// `attention train` and `attention generate`, from a text to generated text.
@Suite struct TrainTests {
  private func makeTool() throws -> Tool {
    try TinyRun(into: "run").tool
  }

  @Test func aRunEndsWithTheSampleAndTheFigureAndCanBeContinued() throws {
    let tool = try makeTool()
    expectMistake(try tool("train", tool.path("tiny.json5"), "--resume"), "checkpoint")
    let first = try tool("train", tool.path("tiny.json5"))
    #expect(first.exitCode == 0, "\(first.error)")
    let last = try #require(first.output.split(separator: "\n").last)
    #expect(last.hasPrefix("validation ") && last.hasSuffix(" bits per byte"), "\(last)")
    #expect(first.output.hasPrefix("func "))
    #expect(tool.exists("run/loss.svg") && tool.exists("run/metrics.jsonl"))

    let more = try tool("train", tool.path("tiny.json5"), "--resume", "training.steps=5")
    #expect(more.exitCode == 0, "\(more.error)")
    #expect(tool.exists("run/checkpoint-5"))

    let generate = [
      "generate", tool.path("run"), "--prompt", "func ", "--tokens", "20", "--seed", "3",
    ]
    let text = try tool.run(generate)
    #expect(text.exitCode == 0, "\(text.error)")
    #expect(text.output.hasPrefix("func ") && text.output.utf8.count > 20)
    #expect(try tool.run(generate).output == text.output)
    #expect(try tool.run(generate + ["--temperature", "0"]).exitCode == 0)
    expectMistake(try tool("generate", tool.path("run"), "--prompt", ""), "--prompt")
    expectMistake(
      try tool("generate", tool.path("run"), "--tokens", "many"), "--tokens", "a whole number")
    expectMistake(try tool("generate", tool.path("run"), "--top-k", "0"), "--top-k is 0")
    expectMistake(try tool("generate", tool.path("run"), "--top-p", "1.5"), "--top-p is 1.5")
    expectMistake(try tool("generate", tool.path("run"), "--tokens", "-1"), "--tokens is -1")
  }

  @Test func aSavedStateIsContinuedWithTheSameTokens() throws {
    let tool = try makeTool()
    #expect(try tool("train", tool.path("tiny.json5")).exitCode == 0)
    func generate(_ arguments: String...) throws -> Tool.Outcome {
      try tool.run(["generate", tool.path("run"), "--seed", "3"] + arguments)
    }
    let (prompt, state) = ("102,117,110,99,32,102,117,110,99,32", tool.path("state"))
    let whole = try generate("--prompt-tokens", prompt, "--tokens", "20")
    #expect(whole.exitCode == 0 && whole.output.split(separator: " ").count == 20)
    let first = try generate(
      "--prompt-tokens", prompt, "--tokens", "7", "--save-state", state)
    let second = try generate(
      "--load-state", state, "--prompt-tokens", "", "--tokens", "13")
    #expect(
      first.output.dropLast() + " " + second.output == whole.output,
      "\(first.error)\(second.error)")
    let guessed = try generate("--prompt-tokens", prompt, "--tokens", "20", "--speculate", "5")
    #expect(guessed.output == whole.output)

    let page = tool.path("page.html")
    #expect(
      try tool("inspect", tool.path("run"), "--prompt", "</script> x", "-o", page).exitCode == 0)
    let html = try String(contentsOf: URL(filePath: page), encoding: .utf8)
    #expect(html.hasPrefix("<!doctype html>") && html.contains("\"entropy\":"))
    // The script of the data, and nothing from elsewhere.
    #expect(html.ranges(of: "</script>").count == 1 && !html.contains("http:"))
    expectMistake(
      try tool(
        "inspect", tool.path("run"), "-o", page, "--prompt", String(repeating: "a", count: 300)),
      "--prompt is of 300 tokens")
    expectMistake(try tool("inspect", tool.path("run"), "-o", page), "--prompt")

    // Many continuations of a prompt that is read once.
    #expect(
      try generate("--prompt-tokens", prompt, "--tokens", "0", "--save-state", state).exitCode == 0)
    let samples = try generate(
      "--load-state", state, "--prompt-tokens", "", "--tokens", "20", "--samples", "3")
    let lines = samples.output.split(separator: "\n")
    #expect(lines.count == 3 && lines[0] + "\n" == whole.output && Set(lines).count == 3)
    #expect(try generate("--load-state", state, "--prompt", "x", "--tokens", "3").exitCode == 0)

    expectMistake(try generate("--load-state", tool.path("absent")), "absent")
    expectMistake(try generate("--load-state", tool.path("tiny.json5")), "tiny.json5")
    expectMistake(
      try generate("--load-state", state, "--dtype", "bfloat16"), "state", "another model")
    let bytes = try Data(contentsOf: URL(filePath: state))
    try bytes.dropLast(100).write(to: URL(filePath: tool.path("short")))
    expectMistake(try generate("--load-state", tool.path("short")), "short")
    expectMistake(try generate("--samples", "0"), "--samples")
    expectMistake(try generate("--samples", "2", "--save-state", state), "--save-state")
    expectMistake(try generate("--load-state", state, "--chat"), "--chat")
    expectMistake(try generate("--speculate", "-1"), "--speculate")
  }

  @Test func withoutAPromptStandardInputIsContinued() throws {
    let tool = try makeTool()
    #expect(try tool("train", tool.path("tiny.json5")).exitCode == 0)
    func generate(_ input: String, _ more: String...) throws -> Tool.Outcome {
      try Data(input.utf8).write(to: URL(filePath: tool.path("input")))
      let command = "exec \"$0\" generate \"$1\" --tokens 9 \"${@:3}\" < \"$2\""
      return try tool.run(
        executable: "/bin/bash",
        ["-c", command, Tool.executable, tool.path("run"), tool.path("input")] + more)
    }
    let piped = try generate("func f(\n")
    #expect(piped.exitCode == 0, "\(piped.error)")
    #expect(piped.output.hasPrefix("func f(\n"))
    let prompt = try tool("generate", tool.path("run"), "--tokens", "9", "--prompt", "func f(\n")
    #expect(piped.output == prompt.output)
    #expect(try generate("other", "--prompt", "func f(\n").output == prompt.output)
    #expect(try generate("").output.hasPrefix("\n"))
    try Data([0x66, 0xFF]).write(to: URL(filePath: tool.path("bytes")))
    expectMistake(
      try tool.run(
        executable: "/bin/bash",
        [
          "-c", "exec \"$0\" generate \"$1\" < \"$2\"", Tool.executable, tool.path("run"),
          tool.path("bytes"),
        ]), "standard input", "UTF-8")
    expectMistake(
      try tool.run(
        executable: "/bin/bash",
        ["-c", "exec \"$0\" generate \"$1\" < /", Tool.executable, tool.path("run")]),
      "standard input", "--prompt")
  }

  @Test func devicesThatAreNotThereAreNamed() throws {
    let tool = try makeTool()
    let wrong = [("gpu", "cpu, cuda or cuda:N"), ("cuda:99", "cuda")]
    for (device, word) in wrong {
      expectMistake(try tool("train", tool.path("tiny.json5"), "--device", device), word)
    }
    #expect(!tool.exists("run"))
    #expect(try tool("train", tool.path("tiny.json5"), "--device", "cpu").exitCode == 0)
    for (device, word) in wrong {
      expectMistake(try tool("generate", tool.path("run"), "--device", device), word)
    }
  }

  @Test(arguments: [
    ("training.stepz=3", "stepz"), ("model.layers.1.heads=3", "heads"),
    ("model.layers.0.type='magic'", "magic"), ("data.paths=['absent']", "absent"),
    ("data.extensions=['nothing']", "nothing"), ("training.steps=-1", "steps"), ("steps", "key="),
  ])
  func wrongConfigurationsAreNamed(override: String, word: String) throws {
    let tool = try makeTool()
    expectMistake(try tool("train", tool.path("tiny.json5"), override), word)
    #expect(!tool.exists("run"))
  }
}
