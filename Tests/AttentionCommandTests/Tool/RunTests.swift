import AttentionOperators
import AttentionTensors
import Testing

/// `attention run` compared with direct calls of the operators.
@Suite struct RunTests {
  private func expectEqual(
    _ file: SafetensorsFile, _ name: String, _ expected: Tensor,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let tensor = try file.tensor(named: name)
    #expect(tensor.shape == expected.shape, "\(name)", sourceLocation: sourceLocation)
    #expect(tensor.dtype == expected.dtype, "\(name)", sourceLocation: sourceLocation)
    #expect(
      try tensor.elements(as: Float.self) == expected.elements(as: Float.self), "\(name)",
      sourceLocation: sourceLocation)
  }

  @Test func softmaxWritesWhatTheOperatorGives() throws {
    let tool = try Tool()
    var inputs = try Samples.exact()
    inputs["bias"] = try Samples.normal([4, 1, 7], "bias")
    inputs["key_mask"] = try Tensor((0..<14).map { $0 != 3 }, [2, 7])
    inputs["sinks"] = try Samples.normal([4], "sinks")
    inputs["scale"] = try Samples.normal([4], "scale")
    try tool.write(inputs, to: "in.safetensors")
    let outcome = try tool(
      "run", "softmax", tool.path("in.safetensors"), "-o", tool.path("out.safetensors"),
      "--causal", "--alignment", "top-left", "--window", "3,all", "--softcap", "4", "--alibi")
    #expect(outcome.exitCode == 0, "\(outcome.error)")
    #expect(outcome.output.isEmpty)

    let expected = try attention(
      queries: #require(inputs["queries"]), keys: #require(inputs["keys"]),
      values: #require(inputs["values"]),
      similarity: .dotProduct(scale: .perHead(#require(inputs["scale"]))),
      mask: AttentionMask(
        isCausal: true, alignment: .topLeft, window: Window(left: 3, right: nil),
        keyMask: inputs["key_mask"]),
      terms: ScoreTerms(
        softcap: 4, alibi: .standard, bias: inputs["bias"], sinks: inputs["sinks"]))
    let file = try SafetensorsFile(path: tool.path("out.safetensors"))
    #expect(Set(file.names) == ["output", "log_sum_exp"])
    try expectEqual(file, "output", expected.output)
    try expectEqual(file, "log_sum_exp", expected.logSumExp)
  }

  @Test func gradientsHaveTheirInputsNamesShapesAndDTypes() throws {
    let tool = try Tool()
    var inputs = try Samples.exact(dtype: .bfloat16)
    inputs["bias"] = try Samples.normal([5, 7], "bias")
    inputs["output_gradient"] = try Samples.normal([2, 5, 4, 6], "gradient")
    try tool.write(inputs, to: "in.safetensors")
    let outcome = try tool(
      "run", "cosine", tool.path("in.safetensors"), "-o", tool.path("out.safetensors"),
      "--gradients", "--dtype", "float32", "--scale=-3", "--groups", "2", "--deterministic")
    #expect(outcome.exitCode == 0, "\(outcome.error)")

    let sources = try ["queries", "keys", "values", "bias"].map {
      try #require(inputs[$0]).tracked()
    }
    let result = try attention(
      queries: sources[0].cast(to: .float32), keys: sources[1].cast(to: .float32),
      values: sources[2].cast(to: .float32), similarity: .cosine(scale: .number(-3), groups: 2),
      terms: ScoreTerms(bias: sources[3]))
    let gradients = try result.output.gradients(of: sources, seed: inputs["output_gradient"])
    let file = try SafetensorsFile(path: tool.path("out.safetensors"))
    #expect(
      Set(file.names) == [
        "output", "log_sum_exp", "queries_gradient", "keys_gradient", "values_gradient",
        "bias_gradient",
      ])
    try expectEqual(file, "output", result.output)
    for (name, gradient) in zip(["queries", "keys", "values", "bias"], gradients) {
      try expectEqual(file, name + "_gradient", gradient)
    }
  }

  @Test func linearWritesOutputAndFinalState() throws {
    let tool = try Tool()
    var inputs = try Samples.linear()
    inputs["initial_state"] = try Samples.normal([3, 4, 8, 6], "state")
    inputs["cumulative_lengths"] = try Tensor([0, 4, 4, 9] as [Int32])
    inputs["final_state_gradient"] = try Samples.normal([3, 4, 8, 6], "gradient")
    try tool.write(inputs, to: "in.safetensors")
    let outcome = try tool(
      "run", "linear", tool.path("in.safetensors"), "-o", tool.path("out.safetensors"), "--l2norm",
      "--gradients", "--explain")
    #expect(outcome.exitCode == 0, "\(outcome.error)")
    #expect(outcome.output.contains("cpu.chunked"))

    let names = ["queries", "keys", "values", "decay", "initial_state"]
    let sources = try names.map { try #require(inputs[$0]).tracked() }
    let result = try linearAttention(
      queries: sources[0], keys: sources[1], values: sources[2], decay: sources[3],
      normalizesQueriesAndKeys: true, initialState: sources[4],
      cumulativeLengths: inputs["cumulative_lengths"])
    let gradients = try Tensor.gradients(
      of: sources,
      through: [(result.output, nil), (result.finalState, inputs["final_state_gradient"])])
    let file = try SafetensorsFile(path: tool.path("out.safetensors"))
    #expect(
      Set(file.names) == Set(["output", "final_state"] + names.map { $0 + "_gradient" }))
    try expectEqual(file, "output", result.output)
    try expectEqual(file, "final_state", result.finalState)
    for (name, gradient) in zip(names, gradients) {
      try expectEqual(file, name + "_gradient", gradient)
    }
  }

  static let updates = [["beta"], ["read_keys"], ["low_rank_a", "low_rank_b"], ["bonus"]]

  @Test(arguments: updates) func linearTakesUpdates(_ names: [String]) throws {
    let tool = try Tool()
    var inputs = try Samples.linear()
    for name in names {
      let shape: Shape =
        switch name {
        case "beta": [1, 9, 4]
        case "bonus": [4, 8]
        default: [1, 9, 4, 8]
        }
      inputs[name] = try Samples.normal(shape, name).tanh() * 0.3
    }
    let seed = try Samples.normal([1, 9, 4, 6], "gradient")
    inputs["output_gradient"] = seed
    try tool.write(inputs, to: "in.safetensors")
    let outcome = try tool(
      "run", "linear", tool.path("in.safetensors"), "-o", tool.path("out.safetensors"), "--l2norm",
      "--gradients")
    #expect(outcome.exitCode == 0, "\(outcome.error)")

    let sources = try names.map { try #require(inputs[$0]).tracked() }
    let update: LinearUpdate =
      switch names[0] {
      case "beta": .delta(beta: sources[0])
      case "read_keys": .generalizedDelta(readKeys: sources[0])
      case "bonus": .additiveBefore(bonus: sources[0])
      default: .lowRank(a: sources[0], b: sources[1])
      }
    let result = try linearAttention(
      queries: #require(inputs["queries"]), keys: #require(inputs["keys"]),
      values: #require(inputs["values"]), decay: inputs["decay"], update: update,
      normalizesQueriesAndKeys: true)
    let gradients = try result.output.gradients(of: sources, seed: seed)
    let file = try SafetensorsFile(path: tool.path("out.safetensors"))
    try expectEqual(file, "output", result.output)
    for (name, gradient) in zip(names, gradients) {
      try expectEqual(file, name + "_gradient", gradient)
    }
  }

  @Test func scanWritesOutputAndFinalState() throws {
    let tool = try Tool()
    var inputs = try Samples.scan()
    inputs["initial_state"] = try Samples.normal([3, 5], "state")
    inputs["cumulative_lengths"] = try Tensor([0, 4, 4, 9] as [Int32])
    inputs["output_gradient"] = try Samples.normal([1, 9, 5], "gradient")
    try tool.write(inputs, to: "in.safetensors")
    let outcome = try tool(
      "run", "scan", tool.path("in.safetensors"), "-o", tool.path("out.safetensors"),
      "--gradients", "--explain")
    #expect(outcome.exitCode == 0, "\(outcome.error)")
    #expect(outcome.output.contains("cpu.blocked"))

    let names = ["inputs", "decay", "initial_state"]
    let sources = try names.map { try #require(inputs[$0]).tracked() }
    let result = try gatedScan(
      inputs: sources[0], decay: sources[1], initialState: sources[2],
      cumulativeLengths: inputs["cumulative_lengths"])
    let gradients = try result.output.gradients(of: sources, seed: inputs["output_gradient"])
    let file = try SafetensorsFile(path: tool.path("out.safetensors"))
    #expect(
      Set(file.names) == Set(["output", "final_state"] + names.map { $0 + "_gradient" }))
    try expectEqual(file, "output", result.output)
    try expectEqual(file, "final_state", result.finalState)
    for (name, gradient) in zip(names, gradients) {
      try expectEqual(file, name + "_gradient", gradient)
    }
  }

  @Test func scanWithAStepIsSelective() throws {
    let tool = try Tool()
    let inputs = try Samples.selectiveScan()
    try tool.write(inputs, to: "in.safetensors")
    let outcome = try tool(
      "run", "scan", tool.path("in.safetensors"), "-o", tool.path("out.safetensors"),
      "--softplus", "--gradients")
    #expect(outcome.exitCode == 0, "\(outcome.error)")
    let result = try selectiveScan(
      inputs: #require(inputs["inputs"]), step: #require(inputs["step"]),
      stateMatrix: #require(inputs["state_matrix"]),
      inputMatrix: #require(inputs["input_matrix"]),
      outputMatrix: #require(inputs["output_matrix"]), skip: inputs["skip"],
      stepBias: inputs["step_bias"], appliesSoftplus: true, kernel: "cpu.scan")
    let file = try SafetensorsFile(path: tool.path("out.safetensors"))
    #expect(
      Set(file.names) == Set(["output", "final_state"] + inputs.keys.map { $0 + "_gradient" }))
    try expectEqual(file, "output", result.output)
    try expectEqual(file, "final_state", result.finalState)
  }

  @Test func linearFormsRun() throws {
    let tool = try Tool()
    let (b, t, h, k, m) = (1, 9, 2, 4, 3)
    func rows(_ name: String, _ width: Int) throws -> Tensor {
      var generator = Philox(seed: 2, label: name)
      return try .normal([b, t, h, width], using: &generator)
    }
    let (queries, keys, values) = (try rows("q", k), try rows("k", k), try rows("v", k))
    let own = ["queries": queries, "keys": keys, "values": values]
    func run(_ more: [String: Tensor], _ flags: String...) throws -> SafetensorsFile {
      try tool.write(own.merging(more) { $1 }, to: "in.safetensors")
      let outcome = try tool.run(
        ["run", "linear", tool.path("in.safetensors"), "-o", tool.path("out.safetensors")]
          + ["--gradients", "--kernel", "cpu.chunked"] + flags)
      #expect(outcome.exitCode == 0, "\(outcome.error)")
      return try SafetensorsFile(path: tool.path("out.safetensors"))
    }
    try expectEqual(
      run([:], "--normalize-weights"), "output",
      normalizedLinearAttention(
        queries: queries, keys: keys, values: values, kernel: "cpu.chunked"
      ).output)
    let (decay, slots) = (try -rows("g", m).absolute(), try rows("s", m))
    let slotFile = try run(["decay": decay, "slots": slots])
    let expected = try gatedSlotAttention(
      queries: queries, keys: keys, values: values, decay: decay, writes: slots,
      kernel: "cpu.chunked")
    try expectEqual(slotFile, "output", expected.output)
    try expectEqual(slotFile, "final_value_state", expected.finalValueState)
    #expect(slotFile.contains("slots_gradient"))
    let levels = try rows("l", 5)
    let levelFile = try run(["levels": levels])
    try expectEqual(
      levelFile, "output",
      logLinearAttention(
        queries: queries, keys: keys, values: values, levels: levels,
        kernel: "cpu.chunked"))
    #expect(levelFile.contains("levels_gradient"))
  }

  @Test func theInputsFileMayBeTheOutputsFile() throws {
    let tool = try Tool()
    try tool.write(Samples.exact(), to: "both.safetensors")
    let path = tool.path("both.safetensors")
    #expect(try tool("run", "softmax", path, "-o", path).exitCode == 0)
    #expect(try SafetensorsFile(path: path).contains("log_sum_exp"))
    #expect(try tool.names == ["both.safetensors"])
  }

  @Test func theKernelAskedForRuns() throws {
    let tool = try Tool()
    try tool.write(Samples.exact(), to: "in.safetensors")
    for kernel in ["cpu.reference", "cpu.unfused", "cpu.tiled"] {
      let outcome = try tool(
        "run", "softmax", tool.path("in.safetensors"), "-o", tool.path("out.safetensors"),
        "--kernel", kernel, "--explain")
      #expect(outcome.exitCode == 0, "\(outcome.error)")
      #expect(outcome.output.contains("\(kernel), as requested"))
    }
  }
}
