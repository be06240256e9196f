import Tensors
import Testing

@testable import Attention

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

  static let cases = [LinearProblem.Decay.none, .perHead, .perToken, .perChannel].map {
    LinearCase(
      length: 7, heads: 1, valueHeads: 2, keyDimension: 3, valueDimension: 2, dtype: .float64,
      decay: $0, packed: $0 == .perToken ? [0, 3, 3, 7] : nil, normalizes: $0 != .perHead,
      strongest: -3)
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
      _ name: String, _ place: WritableKeyPath<LinearCase.Arguments, Tensor>
    ) throws {
      let value = arguments[keyPath: place]
      let direction = try Tensor(
        (0..<value.elementCount).map { _ in random.normal() }, value.shape)
      var (up, down) = (arguments, arguments)
      up[keyPath: place] = try value + direction * step
      down[keyPath: place] = try value - direction * step
      let difference = try (loss(up) - loss(down)) / (2 * step)
      let gradient = try #require(gradients[name])
      let derivative = try (gradient * direction).sum().item()
      #expect(
        abs(difference - derivative) <= 1e-7 * max(1, abs(derivative)),
        "\(name) of \(linearCase): \(derivative), differences say \(difference)")
    }
    try check("queries", \.queries)
    try check("keys", \.keys)
    try check("values", \.values)
    if linearCase.decay != .none { try check("decay", \.decay!) }
    try check("initialState", \.initialState!)
  }
}

extension Double {
  fileprivate static let log2Half = -0.693_147_180_559_945_3
}
