import AttentionTensors
import TestSupport
import Testing

@testable import AttentionOperators

/// Every named recurrence with a state: split anywhere and continued, and packed.
@Suite struct NamedContinuationTests {
  /// Tensors by name, and the states carried from one part to the next.
  struct Part {
    var inputs: [String: Tensor]
    var states: [Tensor]
    var lengths: Tensor?

    subscript(name: String) -> Tensor { inputs[name]! }
  }

  /// A named function: the inputs with a token axis, those without, the states, and the call.
  struct Recurrence: CustomStringConvertible, Sendable {
    let description: String
    /// Extents after [b, t].
    let tokens: [String: [Int]]
    /// Whole shapes.
    var shared: [String: Shape] = [:]
    /// Extents after the number of sequences.
    let states: [[Int]]
    let call: @Sendable (Part) throws -> (output: Tensor, states: [Tensor])
  }

  private static let (h, hv, k, v, d) = (1, 2, 6, 5, 7)
  private static let rows = ["queries": [h, k], "keys": [h, k], "values": [hv, v]]

  private static func linear(
    _ name: String, _ tokens: [String: [Int]] = [:], shared: [String: Shape] = [:],
    states: [[Int]] = [[hv, k, v]],
    _ call: @escaping @Sendable (Part) throws -> LinearAttentionResult
  ) -> Recurrence {
    Recurrence(
      description: name, tokens: rows.merging(tokens) { $1 }, shared: shared, states: states
    ) {
      let result = try call($0)
      return (result.output, [result.finalState])
    }
  }

  private static func scan(
    _ name: String, _ tokens: [String], shared: [String: Shape] = [:],
    _ call: @escaping @Sendable (Part) throws -> GatedScanResult
  ) -> Recurrence {
    Recurrence(
      description: name, tokens: Dictionary(uniqueKeysWithValues: tokens.map { ($0, [d]) }),
      shared: shared, states: [[d]]
    ) {
      let result = try call($0)
      return (result.output, [result.finalState])
    }
  }

  static let recurrences: [Recurrence] =
    additive + erasing + [
      scan("hgrn", ["candidates", "logits"]) {
        try hgrn(
          candidates: $0["candidates"], forgetLogits: $0["logits"], initialState: $0.states[0],
          cumulativeLengths: $0.lengths)
      },
      scan("minGRU", ["candidates", "logits"]) {
        try minGRU(
          candidates: $0["candidates"], updateLogits: $0["logits"], initialState: $0.states[0],
          cumulativeLengths: $0.lengths)
      },
      scan("minLSTM", ["candidates", "forget", "input"]) {
        try minLSTM(
          candidates: $0["candidates"], forgetLogits: $0["forget"], inputLogits: $0["input"],
          initialState: $0.states[0], cumulativeLengths: $0.lengths)
      },
      scan("RG-LRU", ["inputs", "recurrence", "input"], shared: ["decay": [d]]) {
        try realGatedLinearRecurrentUnit(
          inputs: $0["inputs"], recurrenceLogits: $0["recurrence"], inputLogits: $0["input"],
          decayLogits: $0["decay"], initialState: $0.states[0], cumulativeLengths: $0.lengths)
      },
      Recurrence(
        description: "Mamba",
        tokens: ["inputs": [d], "gate": [d], "step": [d], "b": [3], "c": [3]],
        shared: ["matrix": [d, 3], "skip": [d]], states: [[d, 3]]
      ) {
        let result = try mamba(
          inputs: $0["inputs"], gate: $0["gate"], step: $0["step"],
          logStateMatrix: $0["matrix"], inputMatrix: $0["b"], outputMatrix: $0["c"],
          skip: $0["skip"], initialState: $0.states[0], cumulativeLengths: $0.lengths)
        return (result.output, [result.finalState])
      },
    ]

  private static let additive = [
    linear("retention") {
      try retention(
        queries: $0["queries"], keys: $0["keys"], values: $0["values"],
        initialState: $0.states[0], cumulativeLengths: $0.lengths)
    },
    linear("normalised", states: [[hv, k, v + 1]]) {
      try normalizedLinearAttention(
        queries: $0["queries"].absolute() + 0.1, keys: $0["keys"].absolute() + 0.1,
        values: $0["values"], initialState: $0.states[0],
        cumulativeLengths: $0.lengths)
    },
    linear("RWKV-6", ["gate": [hv, k]], shared: ["bonus": [hv, k]]) {
      try rwkv6(
        receptances: $0["queries"], keys: $0["keys"], values: $0["values"],
        decay: -$0["gate"].absolute(), bonus: $0["bonus"], initialState: $0.states[0],
        cumulativeLengths: $0.lengths)
    },
    linear("HGRN-2", ["queries": [hv, k], "gate": [hv, k]]) {
      try hgrn2(
        queries: $0["queries"], logForget: -$0["gate"].absolute(), inputs: $0["values"],
        initialState: $0.states[0], cumulativeLengths: $0.lengths)
    },
    linear("state-space duality", ["steps": [hv]], shared: ["rates": [hv], "skip": [hv]]) {
      try stateSpaceDuality(
        inputs: $0["values"], steps: $0["steps"].absolute(), rates: -$0["rates"].absolute(),
        inputWeights: $0["keys"], outputWeights: $0["queries"], skip: $0["skip"],
        initialState: $0.states[0], cumulativeLengths: $0.lengths)
    },
    Recurrence(
      description: "gated slots",
      tokens: ["queries": [h, k], "keys": [h, k], "values": [h, v], "gate": [h, 4]],
      states: [[h, 4, k], [h, 4, v]]
    ) {
      let result = try gatedSlotAttention(
        queries: $0["queries"], keys: $0["keys"], values: $0["values"],
        decay: -$0["gate"].absolute(), initialKeyState: $0.states[0],
        initialValueState: $0.states[1], cumulativeLengths: $0.lengths)
      return (result.output, [result.finalKeyState, result.finalValueState])
    },
  ]

  private static let erasing = [
    linear("Gated DeltaNet", ["gate": [hv], "beta": [hv]]) {
      try gatedDeltaNet(
        queries: $0["queries"], keys: $0["keys"], values: $0["values"],
        decay: -$0["gate"].absolute(), beta: $0["beta"].sigmoid(), initialState: $0.states[0],
        cumulativeLengths: $0.lengths)
    },
    linear("Gated DeltaNet-2", ["gate": [hv, k], "erase": [hv, k], "write": [hv, v]]) {
      try gatedDeltaNet2(
        queries: $0["queries"], keys: $0["keys"], values: $0["values"],
        decay: -$0["gate"].absolute(), eraseGate: $0["erase"].sigmoid(),
        writeGate: $0["write"].sigmoid(), initialState: $0.states[0],
        cumulativeLengths: $0.lengths)
    },
    linear(
      "Comba", ["gate": [hv], "beta": [hv]], shared: ["feedback": [hv], "correction": [h]]
    ) {
      try comba(
        queries: $0["queries"], keys: $0["keys"], values: $0["values"],
        decay: -$0["gate"].absolute(), beta: $0["beta"].sigmoid(),
        feedback: $0["feedback"].sigmoid(), correction: $0["correction"],
        initialState: $0.states[0], cumulativeLengths: $0.lengths)
    },
    linear(
      "Gated DeltaProduct",
      ["keys": [2, h, k], "values": [2, hv, v], "gate": [hv], "beta": [2, hv]]
    ) {
      try gatedDeltaProduct(
        queries: $0["queries"], keys: $0["keys"], values: $0["values"],
        decay: -$0["gate"].absolute(), beta: $0["beta"].sigmoid(), initialState: $0.states[0],
        cumulativeLengths: $0.lengths)
    },
    linear("RWKV-7", ["gate": [hv, k], "removal": [hv, k], "rates": [hv, k]]) {
      try rwkv7(
        receptances: $0["queries"], keys: $0["keys"], values: $0["values"],
        decay: -$0["gate"].absolute(), removalKeys: $0["removal"].unitVectors(),
        learningRates: $0["rates"].sigmoid(), initialState: $0.states[0],
        cumulativeLengths: $0.lengths)
    },
  ]

  static func part(_ recurrence: Recurrence, length: Int, sequences: Int) throws -> Part {
    var generator = Philox(seed: 9, label: recurrence.description)
    var inputs: [String: Tensor] = [:]
    for (name, extents) in recurrence.tokens.sorted(by: { $0.key < $1.key }) {
      inputs[name] = try .normal(Shape([1, length] + extents), using: &generator)
    }
    for (name, shape) in recurrence.shared.sorted(by: { $0.key < $1.key }) {
      inputs[name] = try .normal(shape, using: &generator)
    }
    let states = try recurrence.states.map {
      try Tensor.uniform(Shape([sequences] + $0), from: 0, to: 1, using: &generator)
    }
    return Part(inputs: inputs, states: states)
  }

  private func sliced(
    _ part: Part, _ recurrence: Recurrence, _ tokens: Range<Int>, from states: [Tensor]
  ) throws -> Part {
    var copy = part
    for name in recurrence.tokens.keys {
      copy.inputs[name] = try part[name].sliced(1, tokens)
    }
    (copy.states, copy.lengths) = (states, nil)
    return copy
  }

  private func expectEqual(
    _ own: [Tensor], _ other: [Tensor], _ what: String,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    for (x, y) in zip(own, other) {
      #expect(try relativeError(x, y) <= 1e-5, "\(what)", sourceLocation: sourceLocation)
    }
  }

  @Test(arguments: recurrences) func continuesWhereItWasCut(_ recurrence: Recurrence) throws {
    let length = 70
    let all = try Self.part(recurrence, length: length, sequences: 1)
    let whole = try recurrence.call(all)
    for place in [0, 1, 37, 64, length] {
      let first = try recurrence.call(
        sliced(all, recurrence, 0..<place, from: all.states))
      let second = try recurrence.call(
        sliced(all, recurrence, place..<length, from: first.states))
      let what = "\(recurrence) cut at \(place)"
      try expectEqual(
        [first.output, second.output],
        [whole.output.sliced(1, 0..<place), whole.output.sliced(1, place..<length)], what)
      try expectEqual(second.states, whole.states, what)
    }
  }

  /// Empty sequences at both ends and in between, single tokens, and whole chunks.
  @Test(arguments: recurrences) func packedSequencesAreApart(_ recurrence: Recurrence) throws {
    let bounds = [0, 0, 1, 20, 20, 84, 84]
    var all = try Self.part(recurrence, length: 84, sequences: bounds.count - 1)
    all.lengths = try Tensor(bounds.map(Int32.init))
    let packed = try recurrence.call(all)
    for (index, (start, end)) in zip(bounds, bounds.dropFirst()).enumerated() {
      func own(_ states: [Tensor]) throws -> [Tensor] {
        try states.map { try $0.sliced(0, index..<index + 1) }
      }
      let alone = try recurrence.call(
        sliced(all, recurrence, start..<end, from: own(all.states)))
      let what = "\(recurrence), tokens \(start) to \(end)"
      try expectEqual([alone.output], [packed.output.sliced(1, start..<end)], what)
      try expectEqual(alone.states, own(packed.states), what)
    }
  }
}
