import AttentionCLibrary
import AttentionTensors
import Testing
import AttentionLanguageModels
import AttentionTraining

/// Every error is one line and exit code 2, and leaves nothing behind.
@Suite struct MistakeTests {
  @Test func usage() throws {
    let tool = try Tool()
    expectMistake(try tool("frobnicate"), "frobnicate")
    expectMistake(try tool("run"), "operator")
    expectMistake(try tool("run", "softmax", "in", "-o", "out", "--colour"), "--colour")
    expectMistake(try tool("run", "softmax", "in"), "--output")
    expectMistake(try tool("run", "sharpmax", "in", "-o", "out"), "softmax, cosine, linear, scan")
    expectMistake(try tool("run", "gated", "in", "-o", "out"), "softmax, cosine, linear, scan")
    expectMistake(try tool("explain", "softmax"), "--shape")
    expectMistake(try tool("train"), "config.json5")
    let keys = try tool("train", "--keys")
    #expect(keys.exitCode == 0)
    #expect(keys.output == (try TrainingConfiguration.keysPage(of: MixerRegistry.builtIn)))
    #expect(try tool("train", "--help").output.contains("CONFIGURATION.md"))
    expectMistake(try tool("generate"), "checkpoint")
    expectMistake(try tool("verify", "--seed", "many"), "--seed")
  }

  @Test func helpIsNoMistake() throws {
    let tool = try Tool()
    for arguments in [["--help"], ["run", "--help"], ["help", "train"], ["--version"], []] {
      let outcome = try tool.run(arguments)
      #expect(outcome.exitCode == 0)
      #expect(!outcome.output.isEmpty && outcome.error.isEmpty)
    }
    let help = try tool("run", "--help").output
    for name in [
      "queries", "key_mask", "logit_decay", "sinks", "initial_state", "cumulative_lengths",
      "output_gradient", "final_state_gradient",
    ] {
      #expect(help.contains(name), "\(name)")
    }
  }

  /// Arguments after `run OPERATOR IN -o OUT`, and words of the message.
  static let flags: [(operation: String, flags: [String], words: [String])] = [
    ("softmax", ["--kernel", "cpu.magic"], ["cpu.magic", "cpu.tiled"]),
    (
      "softmax", ["--dtype", "float64", "--kernel", "cpu.tiled"], ["cpu.tiled objects", "float64"]
    ),
    ("softmax", ["--dtype", "int32"], ["int32"]),
    ("softmax", ["--dtype", "float8"], ["float8"]),
    ("softmax", ["--device", "gpu"], ["gpu", "cpu, cuda or cuda:N"]),
    ("softmax", ["--device", "cuda:-1"], ["cuda:-1"]),
    ("softmax", ["--device", "cuda:99"], ["cuda"]),
    ("linear", ["--device", "cuda:99"], ["cuda"]),
    ("softmax", ["--device", "tpu"], ["tpu"]),
    ("softmax", ["--window", "3"], ["--window"]),
    ("softmax", ["--window", "-1,2"], ["--window"]),
    ("softmax", ["--window", "some,all"], ["--window"]),
    ("softmax", ["--alignment", "centre"], ["centre"]),
    ("softmax", ["--scale", "nan"], ["scale"]),
    ("softmax", ["--softcap", "-2"], ["softcap", "-2"]),
    ("softmax", ["--groups", "2"], ["--groups", "softmax"]),
    ("softmax", ["--no-normalize"], ["--no-normalize", "softmax"]),
    ("softmax", ["--l2norm"], ["--l2norm", "softmax"]),
    ("cosine", ["--groups", "3"], ["groups", "3"]),
    ("cosine", ["--groups", "0"], ["groups", "0"]),
    ("linear", ["--window", "1,1"], ["--window", "linear"]),
    ("linear", ["--softcap", "1"], ["--softcap", "linear"]),
    ("linear", ["--gradients", "--kernel", "cpu.step"], ["cpu.step objects"]),
    ("linear", ["--softplus"], ["--softplus", "linear"]),
    ("scan", ["--softplus"], ["--softplus", "step"]),
    ("scan", ["--scale", "2"], ["--scale", "scan"]),
    ("scan", ["--l2norm"], ["--l2norm", "scan"]),
  ]

  @Test(arguments: flags.indices)
  func flagsOfRun(index: Int) throws {
    let (operation, flags, words) = Self.flags[index]
    let tool = try Tool()
    try tool.write(Samples.usual(operation), to: "in")
    let outcome = try tool.run(
      ["run", operation, tool.path("in"), "-o", tool.path("out")] + flags)
    expectMistake(outcome)
    for word in words { #expect(outcome.error.contains(word), "\(outcome.error)") }
    #expect(!tool.exists("out"))
  }

  @Test func tensorsThatDoNotFit() throws {
    let tool = try Tool()
    func outcome(_ operation: String, _ change: (inout [String: Tensor]) throws -> Void) throws
      -> Tool.Outcome
    {
      var inputs = try Samples.usual(operation)
      try change(&inputs)
      try tool.write(inputs, to: "in")
      defer { #expect(!tool.exists("out")) }
      return try tool("run", operation, tool.path("in"), "-o", tool.path("out"), "--gradients")
    }
    expectMistake(try outcome("softmax") { $0["keys"] = nil }, "keys", "missing")
    expectMistake(try outcome("softmax") { $0["decay"] = $0["keys"] }, "decay", "logit_decay")
    expectMistake(try outcome("linear") { $0["gamma"] = $0["decay"] }, "gamma", "read_keys")
    expectMistake(
      try outcome("linear") { ($0["beta"], $0["bonus"]) = ($0["decay"], $0["decay"]) },
      "bonus is present together with beta")
    expectMistake(
      try outcome("linear") { $0["low_rank_b"] = $0["keys"] }, "low_rank_a is absent")
    expectMistake(
      try outcome("linear") { ($0["slots"], $0["levels"]) = ($0["keys"], $0["keys"]) },
      "slots does not go with levels")
    expectMistake(
      try outcome("linear") { $0["initial_value_state"] = $0["keys"] }, "without slots")
    expectMistake(
      try outcome("linear") { $0["read_keys"] = $0["keys"] }, "read_keys", "[1, 9, 4, 8]")
    expectMistake(
      try outcome("softmax") {
        $0["keys"] = try .zeros([2, 7, 3, 8])
        $0["values"] = try .zeros([2, 7, 3, 8])
      }, "heads", "3")
    expectMistake(try outcome("softmax") { $0["keys"] = try .zeros([2, 7]) }, "keys", "[2, 7]")
    expectMistake(
      try outcome("softmax") { $0["values"] = try .zeros([2, 6, 2, 8]) }, "values", "[2, 6, 2, 8]")
    expectMistake(
      try outcome("softmax") { $0["queries"] = try .zeros([2, 5, 4, 8], dtype: .int64) },
      "queries", "int64")
    expectMistake(
      try outcome("softmax") { $0["key_mask"] = try .zeros([2, 7]) }, "key_mask", "bool")
    expectMistake(try outcome("softmax") { $0["bias"] = try .zeros([3, 7]) }, "bias", "[3, 7]")
    expectMistake(
      try outcome("softmax") { $0["output_gradient"] = try .zeros([2, 5, 4, 7]) },
      "output_gradient", "[2, 5, 4, 6]")
    expectMistake(
      try outcome("softmax") { $0["cumulative_lengths"] = try Tensor([0, 9] as [Int32]) },
      "keys is of length 7", "with cumulative_lengths")
    expectMistake(try outcome("linear") { $0["values"] = try .zeros([1, 9, 3, 6]) }, "values")
    expectMistake(
      try outcome("linear") { $0["initial_state"] = try .zeros([1, 4, 8, 7]) }, "[1, 4, 8, 7]")
    expectMistake(
      try outcome("linear") { $0["final_state_gradient"] = try .zeros([1, 4, 8, 7]) },
      "final_state_gradient")
    expectMistake(try outcome("scan") { $0["decay"] = nil }, "decay", "step", "missing")
    expectMistake(try outcome("scan") { $0["step"] = $0["decay"] }, "decay and step")
    expectMistake(
      try outcome("scan") { ($0["decay"], $0["step"]) = (nil, $0["decay"]) },
      "state_matrix is missing")
    expectMistake(try outcome("scan") { $0["queries"] = $0["decay"] }, "queries", "state_matrix")
    expectMistake(try outcome("scan") { $0["decay"] = try .zeros([1, 9]) }, "decay", "[1, 9, 5]")
  }

  @Test func filesThatAreMissingOrDamaged() throws {
    let tool = try Tool()
    expectMistake(
      try tool("run", "softmax", tool.path("absent"), "-o", tool.path("out")), "absent")
    try tool.write(Samples.exact(), to: "whole")
    for length in [0, 4, 100, 2000] {
      try #require(truncate(tool.path("whole"), length) == 0)
      expectMistake(
        try tool("run", "softmax", tool.path("whole"), "-o", tool.path("out")), "whole")
    }
    expectMistake(try tool("run", "softmax", tool.folder, "-o", tool.path("out")), tool.folder)
    #expect(try tool.names == ["whole"])
  }

  @Test func outputsThatCannotBeWritten() throws {
    let tool = try Tool()
    try tool.write(Samples.exact(), to: "in")
    expectMistake(
      try tool("run", "softmax", tool.path("in"), "-o", tool.path("no/out")), "no/out",
      "No such file or directory")
    expectMistake(
      try tool("run", "softmax", tool.path("in"), "-o", tool.folder), tool.folder, "directory")
    expectMistake(
      try tool("run", "softmax", tool.path("in"), "-o", tool.path("in/out")), "Not a directory")
    expectMistake(
      try tool("bench", "softmax", "--quick", "--plot", tool.path("no/plot.svg")), "no/plot.svg")
    #expect(try tool.names == ["in"])
  }

  @Test func shapes() throws {
    let tool = try Tool()
    for (shape, word) in [
      ("queries", "queries"), ("keys=1x2x3x4", "queries"), ("queries=1x2xthree", "1x2xthree"),
      ("queries=1x-2x3x4", "1x-2x3x4"), ("queries=1x2x3x4,queries=1x2x3x4", "twice"),
      ("queries=1x2x3x4,colours=3", "colours"), ("queries=1x2x3", "queries"),
      ("queries=4294967296x4294967296x4294967296x8", "4294967296"),
      ("queries=1x8x4x8,keys=1x8x3x8", "heads"), ("queries=2x8x4x8,cumulative_lengths=3", "batch"),
    ] {
      expectMistake(try tool("explain", "softmax", "--shape", shape), word)
    }
    for (shape, word) in [
      ("queries=1x400000000000x64x256", "queries"), ("queries=4294967296x0x2x4", "queries"),
      ("queries=1x5x2x4,cumulative_lengths=99999999999", "cumulative_lengths"),
      ("queries=1x5x2x4,levels=1x5x2x2", "levels"), ("queries=1x5x2x4,slots=1x5x2x9", "decay"),
      ("queries=1x5x2x4,slots=1x5x2x9,decay=1x5x2", "decay"),
      ("queries=1x5x2x4,slots=1x5x2x9,decay=1x5x2x9,initial_state=3", "initial_state"),
    ] {
      expectMistake(try tool("explain", "linear", "--shape", shape), word)
    }
    expectMistake(
      try tool(
        "explain", "linear", "--shape", "queries=1x5x2x4,initial_state=1x2x4x4",
        "--normalize-weights"), "initial_state", "[1, 2, 4, 5]")
    expectMistake(try tool("explain", "scan", "--shape", "inputs=1000000000x1x1"), "inputs")
  }

  @Test func trainingAndGeneration() throws {
    let tool = try Tool()
    expectMistake(try tool("train", tool.path("absent.json5")), "absent.json5")
    expectMistake(try tool("generate", tool.path("absent")), "absent")
    expectMistake(try tool("generate", tool.path("absent"), "--temperature", "-1"), "temperature")
    expectMistake(try tool("train", "a.json5", "--resume", "--start-over"), "--resume")
  }
}
