import AttentionTensors
import TestSupport
import Testing

@testable import AttentionOperators

/// Decays of channels on Hopper, beside the definition: from mild ones, of which a chunk takes many, to those that no
/// chunk takes whole.
@Suite(.onGPU) struct HopperChannelDeviceTests {
  struct Case: CustomTestStringConvertible, Sendable {
    var gates: Gates
    var length: Int
    var kernel = "cuda.hopper"
    var keyDimension = 64
    var valueDimension = 64
    var heads = 1
    var valueHeads = 2
    var decayDType = DType.float32
    var packed: [Int]?
    var normalizes = false
    var update = LinearProblem.Update.additive

    var testDescription: String {
      "\(kernel) \(gates.rawValue) \(length)×\(heads)/\(valueHeads) k\(keyDimension) v\(valueDimension) "
        + "\(decayDType.rawValue)\(packed == nil ? "" : " packed")\(normalizes ? " normalised" : "") \(update.rawValue)"
    }
  }

  /// What a channel decays at a token.
  enum Gates: String, Sendable {
    case mild, steep, mixed, cutting

    func draw(_ random: inout SplitMix, channel: Int) -> Float {
      let x = Float.random(in: 0...1, using: &random)
      switch self {
      case .mild: return -0.2 * x
      case .steep: return -20 * x
      // Channels that keep everything beside some that forget at once; every level of cutting.
      case .mixed: return -x * Float([0, 0.01, 0.5, 3, 6, 12, 30, 80][channel / 3 % 8])
      case .cutting: return x < 0.05 ? -.infinity : x < 0.5 ? 0 : -2 * x
      }
    }
  }

  static let cases = [
    Case(gates: .mild, length: 150), Case(gates: .mild, length: 64, decayDType: .bfloat16),
    Case(gates: .steep, length: 97), Case(gates: .mixed, length: 130, decayDType: .bfloat16),
    Case(gates: .mixed, length: 200, keyDimension: 128, valueDimension: 64),
    Case(gates: .cutting, length: 100, keyDimension: 64, valueDimension: 128),
    Case(gates: .mixed, length: 70, keyDimension: 128, valueDimension: 128, normalizes: true),
    Case(gates: .mild, length: 1, heads: 2), Case(gates: .steep, length: 3),
    Case(gates: .mixed, length: 260, packed: [0, 65, 65, 66, 260]),
    Case(gates: .mild, length: 1100, kernel: "cuda.hopper.split"),
    Case(gates: .mixed, length: 1100, kernel: "cuda.hopper.split", keyDimension: 128),
    Case(
      gates: .mixed, length: 2300, kernel: "cuda.hopper.split", valueDimension: 128,
      packed: [0, 1100, 2300]),
  ]

  /// The same with the delta rule, but for two of the long ones and those that differ in dtypes only.
  static let erasing = cases.filter {
    $0.decayDType == .float32 && ($0.length < 1000 || $0.keyDimension == 128)
  }.map { item in
    var item = item
    item.update = .delta
    return item
  }

  /// And with low-rank updates, whose chunks are half as long.
  static let lowRank = cases.filter { $0.length < 1000 || $0.valueDimension == 128 }.map { item in
    var item = item
    item.update = .lowRank
    return item
  }

  /// Of the gradient of gates that leave only pairs of neighbours: in the last chunk nothing sets right what passes,
  /// which is a sum over 32 tokens in the mean, of four numbers each that are rounded to bfloat16, √(4 · 32) · 2⁻⁹ / √3.
  static let boundOfSums = 1.3e-2

  @Test(arguments: cases + erasing + lowRank) func isTheDefinition(_ item: Case) throws {
    var random = SplitMix(state: 11)
    func draw(_ shape: Shape) throws -> Tensor {
      try Tensor(
        (0..<shape.elementCount).map { _ in Float.random(in: -1...1, using: &random) }, shape)
    }
    let (t, k, v, hv) = (item.length, item.keyDimension, item.valueDimension, item.valueHeads)
    let rows: Shape = [1, t, item.heads, k]
    // The delta rule keeps a state bounded of keys of about unit length.
    let unit = 1 / Double(k / 3).squareRoot()
    let keySize = item.update.isErasing ? unit : 1
    let decayShape: Shape = [1, t, hv, k]
    let decay = try Tensor(
      (0..<decayShape.elementCount).map { item.gates.draw(&random, channel: $0 % k) }, decayShape
    ).cast(to: item.decayDType)
    let states = (item.packed?.count ?? 2) - 1
    let updateRows: [Tensor] =
      switch item.update {
      case .delta: [try draw([1, t, hv]).absolute()]
      case .lowRank:
        [
          try (draw(decayShape) * (0.7 * unit)).cast(to: .bfloat16),
          try (draw(decayShape) * (0.7 * unit)).cast(to: .bfloat16),
        ]
      default: []
      }
    let inputs =
      [
        try draw(rows).cast(to: .bfloat16),
        try (draw(rows) * keySize).cast(to: .bfloat16),
        try draw([1, t, hv, v]).cast(to: .bfloat16), decay, try draw([states, hv, k, v]),
      ] + updateRows
    let slopes = (output: try draw([1, t, hv, v]), state: try draw([states, hv, k, v]))
    let lengths = try item.packed.map { try Tensor($0.map(Int32.init)) }

    func results(_ inputs: [Tensor], _ kernel: String) throws -> [Tensor] {
      let device = inputs[0].device
      let leaves = inputs.map { $0.tracked() }
      let update: LinearUpdate =
        switch item.update {
        case .delta: .delta(beta: leaves[5])
        case .lowRank: .lowRank(a: leaves[5], b: leaves[6])
        default: .additive
        }
      let result = try linearAttention(
        queries: leaves[0], keys: leaves[1], values: leaves[2], decay: leaves[3], update: update,
        normalizesQueriesAndKeys: item.normalizes, initialState: leaves[4],
        cumulativeLengths: lengths, kernel: kernel)
      let wide = try slopes.output.cast(to: .bfloat16).cast(to: result.output.dtype)
      let state = try slopes.state.cast(to: result.finalState.dtype)
      let loss =
        try (result.output * wide.moved(to: device)).cast(to: result.finalState.dtype).sum()
        + (result.finalState * state.moved(to: device)).sum()
      return try [result.output, result.finalState]
        + loss.gradients(of: leaves)
    }
    let expected = try results(inputs.map { try $0.cast(to: .float64) }, "cpu.reference")
    let found = try results(inputs.map { try $0.moved(to: GPU.device) }, item.kernel)
    let names =
      ["output", "final state", "dq", "dk", "dv", "dg", "initial state's"]
      + (item.update == .delta ? ["dβ"] : ["da", "db"])
    for (name, pair) in zip(names, zip(found, expected)) {
      let error = try relativeError(pair.0, pair.1)
      let bound =
        name == "dg" && item.gates == .steep && item.update.isErasing ? Self.boundOfSums : 1e-2
      #expect(error <= bound, "\(name): \(error)")
    }
  }

  /// Gates that forget everything within a token or two: nothing of size is taken from something as large.
  @Test func gradientsOfGatesThatForgetAtOnceKeepTheirDigits() throws {
    try isTheDefinition(Case(gates: .steep, length: 600))
  }
}
