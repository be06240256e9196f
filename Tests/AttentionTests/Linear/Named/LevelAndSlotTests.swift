import AttentionCLibrary
import AttentionTensors
import TestSupport
import Testing

@testable import AttentionOperators

/// Gated slot attention and log-linear attention compared with their definitions, gradients included.
@Suite struct LevelAndSlotTests {
  /// Sizes of gated slot attention, and its arguments by name.
  private struct Slots {
    static let (b, t, h, k, v, m) = (2, 19, 2, 6, 5, 4)

    var inputs: [String: Tensor]

    init() throws {
      let (b, t, h) = (Self.b, Self.t, Self.h)
      inputs = [
        "queries": try AdditiveNamedTests.normal("queries", [b, t, h, Self.k]),
        "keys": try AdditiveNamedTests.normal("keys", [b, t, h, Self.k]),
        "values": try AdditiveNamedTests.normal("values", [b, t, h, Self.v]),
        "decay": try AdditiveNamedTests.gates("decay", [b, t, h, Self.m]),
        "writes": try AdditiveNamedTests.normal("writes", [b, t, h, Self.m]),
        "keyState": try AdditiveNamedTests.normal("keyState", [b, h, Self.m, Self.k]),
        "valueState": try AdditiveNamedTests.normal("valueState", [b, h, Self.m, Self.v]),
      ]
    }

    func callAsFunction() throws -> GatedSlotAttentionResult {
      try gatedSlotAttention(
        queries: inputs["queries"]!, keys: inputs["keys"]!, values: inputs["values"]!,
        decay: inputs["decay"]!, writes: inputs["writes"], initialKeyState: inputs["keyState"],
        initialValueState: inputs["valueState"])
    }
  }

  @Test func slotsAreReadThroughSoftmax() throws {
    let slots = try Slots()
    let arrays = try slots.inputs.mapValues { try TokenArray($0) }
    let result = try slots()
    var keyStates: [Double] = []
    // A state [m, k + v]: the keys of the slots beside their values.
    let initial = try Tensor.concatenated(
      [slots.inputs["keyState"]!, slots.inputs["valueState"]!], 3)
    let naive = try naiveRecurrence(
      [Slots.b, Slots.t, Slots.h, Slots.k + Slots.v], keyDimension: Slots.m, initialState: initial
    ) { row, token, head, state in
      func at(_ name: String) -> [Double] { arrays[name]!.row(row, token, head) }
      state = .diagonal(at("decay").map { exp($0) }) * state
      state = state + .outer(at("writes"), at("keys") + at("values"))
      let scores = state.rows.map { slot in
        zip(slot, at("queries")).reduce(0) { $0 + $1.0 * $1.1 } / Double(Slots.k).squareRoot()
      }
      let weights = scores.map { exp($0) }
      let total = weights.reduce(0, +)
      if token == Slots.t - 1 { keyStates += state.rows.flatMap { $0[..<Slots.k] } }
      return state.read(weights.map { $0 / total })
    }
    let read = try naive.output.sliced(3, Slots.k..<Slots.k + Slots.v)
    #expect(try relativeError(result.output, read) <= 1e-5)
    let keys = try Tensor(keyStates, result.finalKeyState.shape)
    #expect(try relativeError(result.finalKeyState, keys) <= 1e-5)
    let values = try naive.finalState.sliced(3, Slots.k..<Slots.k + Slots.v)
    #expect(try relativeError(result.finalValueState, values) <= 1e-5)
  }

  /// Along a random direction of each argument, in float64.
  @Test func slotGradientsAreDerivatives() throws {
    var slots = try Slots()
    slots.inputs = try slots.inputs.mapValues { try $0.cast(to: .float64) }
    let weights = try ["output", "keys", "values"].map {
      try AdditiveNamedTests.normal($0 + " weights", [64]).cast(to: .float64)
    }
    func loss(_ slots: Slots) throws -> Tensor {
      let result = try slots()
      return try zip([result.output, result.finalKeyState, result.finalValueState], weights)
        .map { tensor, weights in
          let count = tensor.elementCount
          let factors = try weights.unsqueezed(0).expanded(to: [(count + 63) / 64, 64])
            .reshaped([-1]).sliced(0, 0..<count)
          return try (tensor.reshaped([count]) * factors).sum()
        }.reduce(Tensor.zeros([], dtype: .float64)) { try $0 + $1 }
    }
    try expectDerivatives(slots.inputs) { inputs in
      var moved = slots
      moved.inputs = inputs
      return try loss(moved)
    }
  }

  /// Compares gradients with central differences along a random direction.
  private func expectDerivatives(
    _ inputs: [String: Tensor], of loss: ([String: Tensor]) throws -> Tensor
  ) throws {
    let leaves = inputs.mapValues { $0.tracked() }
    let names = inputs.keys.sorted()
    let gradients = try loss(leaves).gradients(of: names.map { leaves[$0]! })
    let step = 1e-5
    for (name, gradient) in zip(names, gradients) {
      let direction = try AdditiveNamedTests.normal(name + " direction", gradient.shape)
        .cast(to: .float64)
      func moved(_ distance: Double) throws -> Double {
        var inputs = inputs
        inputs[name] = try inputs[name]! + direction * distance
        return try loss(inputs).item()
      }
      let difference = try (moved(step) - moved(-step)) / (2 * step)
      let derivative = try (gradient * direction).sum().item()
      #expect(
        abs(difference - derivative) <= 1e-6 * max(1, abs(derivative)),
        "\(name): \(derivative), differences say \(difference)")
    }
  }

  /// The inputs of log-linear attention for a length.
  private func levelInputs(_ length: Int) throws -> [String: Tensor] {
    let (b, h, hv, k, v) = (2, 1, 2, 5, 4)
    let levels = logLinearLevels(length: length)
    return [
      "queries": try AdditiveNamedTests.normal("queries", [b, length, h, k]),
      "keys": try AdditiveNamedTests.normal("keys", [b, length, h, k]),
      "values": try AdditiveNamedTests.normal("values", [b, length, hv, v]),
      "decay": try AdditiveNamedTests.gates("decay", [b, length, hv], from: -0.3),
      "levels": try AdditiveNamedTests.normal("levels", [b, length, hv, levels]),
    ]
  }

  private func logLinear(_ inputs: [String: Tensor]) throws -> Tensor {
    try logLinearAttention(
      queries: inputs["queries"]!, keys: inputs["keys"]!, values: inputs["values"]!,
      decay: inputs["decay"], levels: inputs["levels"]!)
  }

  /// The walk of a Fenwick tree: bucket by bucket from the token back to the first.
  @Test(arguments: [0, 1, 2, 63, 64, 65, 200]) func bucketsAreWeighed(_ length: Int) throws {
    let inputs = try levelInputs(length)
    let arrays = try inputs.mapValues { try TokenArray($0) }
    let output = try logLinear(inputs)
    #expect(output.shape == inputs["values"]!.shape)
    guard length > 0 else { return }
    let naive = try naiveRecurrence(output.shape, keyDimension: 5) { row, token, head, _ in
      var sum = [Double](repeating: 0, count: 4)
      var decay = 0.0
      func add(_ s: Int, _ level: Int) {
        let query = arrays["queries"]!.row(row, token, 0)
        let score = zip(query, arrays["keys"]!.row(row, s, 0)).reduce(0) { $0 + $1.0 * $1.1 }
        let weight = arrays["levels"]!.row(row, token, head)[level] * score * exp(decay)
        sum = zip(sum, arrays["values"]!.row(row, s, head)).map { $0 + weight * $1 }
        decay += arrays["decay"]!.number(row, s, head)
      }
      add(token, 0)
      var end = token
      while end > 0 {
        let size = end & -end
        for s in (end - size..<end).reversed() { add(s, size.trailingZeroBitCount + 1) }
        end -= size
      }
      return sum.map { $0 / 5.0.squareRoot() }
    }
    #expect(try relativeError(output, naive.output) <= 1e-5)
  }

  /// A decay of −∞ forgets everything before, within a chunk and above.
  @Test func levelsForgetAtOnce() throws {
    let (length, place) = (150, 101)
    var inputs = try levelInputs(length)
    var decay = try inputs["decay"]!.elements(as: Float.self)
    // [2, length, 2]
    for row in 0..<2 {
      for head in 0..<2 { decay[(row * length + place) * 2 + head] = -.infinity }
    }
    inputs["decay"] = try Tensor(decay, inputs["decay"]!.shape)
    let output = try logLinear(inputs)
    let isBefore = try Tensor((0..<length).map { $0 < place ? Float(0) : 1 }, [length, 1, 1])
    inputs["values"] = try inputs["values"]! * isBefore
    inputs["decay"] = try Tensor(
      decay.map { max($0, -1e3) }, inputs["decay"]!.shape)
    let forgotten = try logLinear(inputs)
    let behind = place..<length
    #expect(
      try relativeError(output.sliced(1, behind), forgotten.sliced(1, behind)) <= 1e-6)
    #expect(try output.elements(as: Float.self).allSatisfy(\.isFinite))
  }

  @Test func levelGradientsAreDerivatives() throws {
    let inputs = try levelInputs(150).mapValues { try $0.cast(to: .float64) }
    let weights = try AdditiveNamedTests.normal("weights", inputs["values"]!.shape)
      .cast(to: .float64)
    try expectDerivatives(inputs) { try (logLinear($0) * weights).sum() }
  }
}
