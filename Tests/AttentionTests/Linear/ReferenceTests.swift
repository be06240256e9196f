import AttentionTensors
import Testing

@testable import AttentionOperators

@Suite struct LinearReferenceTests {
  /// S_1 = k_1 v_1ᵀ, S_2 = e^g S_1 + k_2 v_2ᵀ by hand.
  @Test func twoTokensByHand() throws {
    let result = try linearAttention(
      queries: Tensor([1, 2, 3, 4] as [Double], [1, 2, 1, 2]),
      keys: Tensor([1, -1, 0.5, 2] as [Double], [1, 2, 1, 2]),
      values: Tensor([2, 3] as [Double], [1, 2, 1, 1]),
      decay: Tensor([0, Double.log2Half] as [Double], [1, 2, 1]), scale: 0.5,
      kernel: "cpu.reference")
    // S_1 = (2, −2): o_1 = 0.5·(2 − 4). S_2 = (1 + 1.5, −1 + 6): o_2 = 0.5·(7.5 + 20).
    let output = try result.output.elements(as: Double.self)
    #expect(abs(output[0] + 1) < 1e-15)
    #expect(abs(output[1] - 13.75) < 1e-14)
    let state = try result.finalState.elements(as: Double.self)
    #expect(abs(state[0] - 2.5) < 1e-15)
    #expect(abs(state[1] - 5) < 1e-15)
  }

  /// Two tokens of every other update by hand, with k = v = 1 and a decay of one half.
  @Test func updatesByHand() throws {
    func column(_ x: [Double]) throws -> Tensor { try Tensor(x, [1, 2, 1, 1]) }
    func check(_ update: LinearUpdate, output: [Double], state: Double) throws {
      let result = try linearAttention(
        queries: column([1, 2]), keys: column([2, 3]), values: column([5, 7]),
        decay: Tensor([0, Double.log2Half] as [Double], [1, 2, 1]), update: update, scale: 1,
        initialState: Tensor([4] as [Double], [1, 1, 1, 1]), kernel: "cpu.reference")
      let computed = try result.output.elements(as: Double.self)
      #expect(
        zip(computed, output).allSatisfy { abs($0 - $1) < 1e-12 }, "\(update): \(computed)")
      #expect(try abs(result.finalState.item() - state) < 1e-12, "\(update)")
    }
    // o_1 = 4 + 10u, S_1 = 14; o_2 = 2 (14 + 21u), S_2 = 7 + 21.
    try check(
      .additiveBefore(bonus: Tensor([0.5] as [Double], [1, 1])), output: [9, 49], state: 28)
    // S_1 = 4 + 2·0.5·(5 − 8) = 1; S_2 = 0.5 + 3·0.25·(7 − 1.5).
    try check(
      .delta(beta: Tensor([0.5, 0.25] as [Double], [1, 2, 1])), output: [1, 9.25], state: 4.625)
    // S_1 = 4 + 2·(5 − 4) = 6; S_2 = 3 + 3·(7 + 3).
    try check(.generalizedDelta(readKeys: column([1, -1])), output: [6, 66], state: 33)
    // S_1 = 4 + 3·(4·1) + 10 = 26; S_2 = 13 + 0.5·(−26) + 21.
    try check(.lowRank(a: column([1, -1]), b: column([3, 0.5])), output: [26, 42], state: 21)
  }

  static let updates: [LinearProblem.Update] = [
    .additive, .additiveBefore, .delta, .generalizedDelta, .lowRank,
  ]

  static let cases = updates.flatMap { update in
    [LinearProblem.Decay.none, .perHead, .perToken, .perChannel].map {
      LinearCase(
        length: 7, heads: 1, valueHeads: 2, keyDimension: 3, valueDimension: 2, dtype: .float64,
        decay: $0, update: update, packed: $0 == .perToken ? [0, 3, 3, 7] : nil,
        normalizes: $0 != .perHead, strongest: -3)
    }
  }

  /// Every gradient against a central difference along a random direction.
  @Test(arguments: cases) func gradientsAreDerivatives(_ linearCase: LinearCase) throws {
    let arguments = try linearCase.arguments().wide()
    func loss(_ arguments: LinearCase.Arguments) throws -> Double {
      let result = try arguments("cpu.reference")
      return try
        ((result.output * arguments.outputGradient).sum()
        + (result.finalState * arguments.finalStateGradient).sum()).item()
    }
    let gradients = try arguments.gradients("cpu.reference")
    let step = 1e-5
    var random = SplitMix(state: 99)
    func check(
      _ name: String, _ value: Tensor,
      _ replace: (inout LinearCase.Arguments, Tensor) throws -> Void
    ) throws {
      let direction = try Tensor(
        (0..<value.elementCount).map { _ in random.normal() }, value.shape)
      var (up, down) = (arguments, arguments)
      try replace(&up, value + direction * step)
      try replace(&down, value - direction * step)
      let difference = try (loss(up) - loss(down)) / (2 * step)
      let gradient = try #require(gradients[name])
      let derivative = try (gradient * direction).sum().item()
      #expect(
        abs(difference - derivative) <= 1e-7 * max(1, abs(derivative)),
        "\(name) of \(linearCase): \(derivative), differences say \(difference)")
    }
    try check("queries", arguments.queries) { $0.queries = $1 }
    try check("keys", arguments.keys) { $0.keys = $1 }
    try check("values", arguments.values) { $0.values = $1 }
    if let decay = arguments.decay { try check("decay", decay) { $0.decay = $1 } }
    try check("initialState", #require(arguments.initialState)) { $0.initialState = $1 }
    for (index, tensor) in arguments.update.tensors.enumerated() {
      try check("update \(index)", tensor) { arguments, changed in
        var place = -1
        arguments.update = arguments.update.mapTensors {
          place += 1
          return place == index ? changed : $0
        }
      }
    }
  }
}

extension Double {
  fileprivate static let log2Half = -0.693_147_180_559_945_3
}
