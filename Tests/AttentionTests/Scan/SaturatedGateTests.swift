import AttentionTensors
import TestSupport
import Testing

@testable import AttentionOperators

/// Named recurrences with saturated gates compared with float64: results and gradients. A gate that rounds to open or
/// closed makes its formulas divide by zero or multiply zero by infinity.
@Suite struct SaturatedGateTests {
  /// A recurrence of `inputs`, all of one dtype except for those that it converts to float32 itself.
  struct Recurrence: CustomTestStringConvertible, Sendable {
    let testDescription: String
    let inputs: @Sendable (inout Philox) throws -> [Tensor]
    let call: @Sendable ([Tensor]) throws -> [Tensor]
  }

  private static let (batch, length, channels, states) = (2, 40, 6, 3)
  private static let tokens: Shape = [batch, length, channels]

  private static func normal(_ shape: Shape, _ random: inout Philox) throws -> Tensor {
    try .normal(shape, using: &random)
  }

  /// Normal numbers, every second replaced by the `extremes` in turn.
  private static func extreme(
    _ shape: Shape, _ extremes: [Float], _ random: inout Philox
  ) throws -> Tensor {
    var numbers = try normal(shape, &random).elements(as: Float.self)
    for (turn, place) in stride(from: 0, to: numbers.count, by: 2).enumerated() {
      numbers[place] = extremes[turn % extremes.count]
    }
    return try Tensor(numbers, shape)
  }

  static let recurrences: [Recurrence] = [
    Recurrence(
      testDescription: "HGRN",
      inputs: {
        [
          try normal(tokens, &$0), try extreme(tokens, [1e6, -1e6, 200, -200, 30, -30, 90], &$0),
          try normal([batch, channels], &$0),
        ]
      }
    ) {
      let result = try hgrn(candidates: $0[0], forgetLogits: $0[1], initialState: $0[2])
      return [result.output, result.finalState]
    },
    Recurrence(
      testDescription: "HGRN with a bound",
      inputs: {
        [
          try normal(tokens, &$0),
          try extreme(tokens, [1e6, -1e6, 200, -200, 30, -30, 90, -.infinity, .infinity], &$0),
          try Tensor([1e-30, 1e-6, 0.3, 0.9, 0.999_999, 1] as [Float]),
          try normal([batch, channels], &$0),
        ]
      }
    ) {
      let result = try hgrn(
        candidates: $0[0], forgetLogits: $0[1], lowerBound: $0[2], initialState: $0[3])
      return [result.output, result.finalState]
    },
    Recurrence(
      testDescription: "minGRU",
      inputs: {
        [
          try normal(tokens, &$0), try extreme(tokens, [1e6, -1e6, 200, -200, 30, -30], &$0),
          try normal([batch, channels], &$0),
        ]
      }
    ) {
      let result = try minGRU(candidates: $0[0], updateLogits: $0[1], initialState: $0[2])
      return [result.output, result.finalState]
    },
    Recurrence(
      testDescription: "minLSTM",
      inputs: {
        [
          try normal(tokens, &$0), try extreme(tokens, [1e6, -1e6, 200, -200, 30], &$0),
          try extreme(tokens, [-1e5, 1e5, -150, 150], &$0), try normal([batch, channels], &$0),
        ]
      }
    ) {
      let result = try minLSTM(
        candidates: $0[0], forgetLogits: $0[1], inputLogits: $0[2], initialState: $0[3])
      return [result.output, result.finalState]
    },
    Recurrence(
      testDescription: "RG-LRU",
      inputs: {
        [
          try normal(tokens, &$0),
          try extreme(tokens, [-1e6, 1e6, -200, 200, -100, -88, -60, -.infinity], &$0),
          try extreme(tokens, [1e6, -1e6, 3], &$0),
          try Tensor([-3, 4, 30, 200, -1e6, -1e30] as [Float]), try normal([batch, channels], &$0),
        ]
      }
    ) {
      let result = try realGatedLinearRecurrentUnit(
        inputs: $0[0], recurrenceLogits: $0[1], inputLogits: $0[2], decayLogits: $0[3],
        initialState: $0[4])
      return [result.output, result.finalState]
    },
    mamba(steps: [-1e4, 3, 90], "Mamba"), mamba(steps: [1e4, -1e4], "Mamba with long steps"),
    Recurrence(
      testDescription: "Mamba-2",
      inputs: {
        [
          try normal([batch, length, 4, 5], &$0),
          try extreme([batch, length, 4], [0.5, 7, 1e4], &$0).absolute(),
          try Tensor([-.infinity, -3e38, -2, -1e6] as [Float]),
          try normal([batch, length, 2, 8], &$0), try normal([batch, length, 2, 8], &$0),
        ]
      }
    ) {
      let result = try stateSpaceDuality(
        inputs: $0[0], steps: $0[1], rates: $0[2], inputWeights: $0[3], outputWeights: $0[4])
      return [result.output, result.finalState]
    },
    Recurrence(
      testDescription: "HGRN-2",
      inputs: {
        [
          try normal([batch, length, 2, 8], &$0),
          try extreme([batch, length, 2, 8], [-1e-10, -.infinity, 0, -1e-9, -200, -1e-20], &$0)
            .absolute() * -1.0,
          try normal([batch, length, 2, 5], &$0),
        ]
      }
    ) {
      let result = try hgrn2(queries: $0[0], logForget: $0[1], inputs: $0[2])
      return [result.output, result.finalState]
    },
    // Only gates that hardly decay: their inputs are as small.
    Recurrence(
      testDescription: "HGRN-2 with gates next to 1",
      inputs: {
        [
          try normal([batch, length, 2, 8], &$0),
          try normal([batch, length, 2, 8], &$0).absolute() * -1e-9,
          try normal([batch, length, 2, 5], &$0),
        ]
      }
    ) {
      let result = try hgrn2(queries: $0[0], logForget: $0[1], inputs: $0[2])
      return [result.output, result.finalState]
    },
    Recurrence(
      testDescription: "gated slot attention with gates next to 1",
      inputs: {
        [
          try normal([batch, length, 2, 8], &$0), try normal([batch, length, 2, 8], &$0),
          try normal([batch, length, 2, 5], &$0),
          try normal([batch, length, 2, 4], &$0).absolute() * -1e-9,
        ]
      }
    ) {
      let result = try gatedSlotAttention(
        queries: $0[0], keys: $0[1], values: $0[2], decay: $0[3])
      return [result.output, result.finalKeyState, result.finalValueState]
    },
  ]

  private static func mamba(steps: [Float], _ name: String) -> Recurrence {
    Recurrence(
      testDescription: name,
      inputs: {
        [
          try normal(tokens, &$0), try normal(tokens, &$0), try extreme(tokens, steps, &$0),
          try normal([channels], &$0),
          try extreme([channels, states], [100, 1e30, .infinity, -100, 88], &$0),
          try normal([batch, length, states], &$0), try normal([batch, length, states], &$0),
          try normal([channels], &$0), try normal([batch, channels, states], &$0),
        ]
      }
    ) {
      let result = try AttentionOperators.mamba(
        inputs: $0[0], gate: $0[1], step: $0[2], stepBias: $0[3], logStateMatrix: $0[4],
        inputMatrix: $0[5], outputMatrix: $0[6], skip: $0[7], initialState: $0[8])
      return [result.output, result.finalState]
    }
  }

  @Test(arguments: recurrences) func agreesWithFloat64(_ recurrence: Recurrence) throws {
    for set in InstructionSet.supported {
      try InstructionSet.withCurrent(set) { try compare(recurrence, on: .cpu, "\(set)") }
    }
  }

  @Test(.onGPU, arguments: recurrences) func agreesWithFloat64OnAGPU(
    _ recurrence: Recurrence
  ) throws {
    try compare(recurrence, on: GPU.device, "GPU")
  }

  /// Without gradients other kernels run: those of the step form.
  @Test(arguments: recurrences) func stepsAgreeWithFloat64(_ recurrence: Recurrence) throws {
    var random = Philox(seed: 5, label: recurrence.testDescription)
    let inputs = try recurrence.inputs(&random)
    let exact = try recurrence.call(inputs.map { try $0.cast(to: .float64) })
    for (own, right) in try zip(recurrence.call(inputs), exact) {
      try expectClose(own, right, within: 1e-5, recurrence.testDescription)
    }
  }

  /// An infinite rate has no effect in a step of no time.
  @Test func stepsOfNoTimeKeepStates() throws {
    var random = Philox(seed: 3, label: "no time")
    let (heads, width, state) = (2, 3, 4)
    let inputs = try Tensor.normal([1, 5, heads, width], using: &random)
    let weights = try Tensor.normal([1, 5, 1, state], using: &random)
    let initial = try Tensor.normal([1, heads, state, width], using: &random)
    let result = try stateSpaceDuality(
      inputs: inputs, steps: .zeros([1, 5, heads]), rates: Tensor([-.infinity, -3e38] as [Float]),
      inputWeights: weights, outputWeights: weights, initialState: initial)
    try expectClose(result.finalState, initial, within: 0)
    for kernel in ["cpu.scan", "cpu.step", "cpu.reference"] {
      let scan = try selectiveScan(
        inputs: inputs.reshaped([1, 5, heads * width]), step: .zeros([1, 5, heads * width]),
        stateMatrix: .full([heads * width, state], -.infinity).contiguous(),
        inputMatrix: weights.reshaped([1, 5, state]),
        outputMatrix: weights.reshaped([1, 5, state]),
        initialState: initial.reshaped([1, heads * width, state]), kernel: kernel)
      try expectClose(
        scan.finalState, initial.reshaped([1, heads * width, state]), within: 0, kernel)
    }
  }

  private func compare(_ recurrence: Recurrence, on device: Device, _ label: String) throws {
    var random = Philox(seed: 5, label: recurrence.testDescription)
    let inputs = try recurrence.inputs(&random)
    func results(_ inputs: [Tensor], on device: Device) throws -> [Tensor] {
      let tracked = try inputs.map { try $0.moved(to: device).tracked() }
      let outputs = try recurrence.call(tracked)
      var random = Philox(seed: 6, label: recurrence.testDescription)
      let seeds = try outputs.map {
        try Tensor.normal($0.shape, using: &random).cast(to: $0.dtype).moved(to: device)
      }
      let gradients = try Tensor.gradients(
        of: tracked, through: zip(outputs, seeds).map { (output: $0, gradient: Optional($1)) })
      return try (outputs + gradients).map { try $0.detached().moved(to: .cpu) }
    }
    let exact = try results(inputs.map { try $0.cast(to: .float64) }, on: .cpu)
    let outputs = exact.count - inputs.count
    for (index, (own, right)) in try zip(results(inputs, on: device), exact).enumerated() {
      let isGradient = index >= outputs
      let words =
        "\(isGradient ? "gradient \(index - outputs)" : "output \(index)") of "
        + "\(recurrence.testDescription), \(label)"
      #expect(try own.elements(as: Double.self).allSatisfy(\.isFinite), "\(words)")
      try expectClose(own, right, within: isGradient ? 1e-4 : 1e-5, words)
    }
  }
}
