import AttentionTensors
import TestSupport
import Testing

@testable import AttentionOperators

@Suite struct ErasingTests {
  static let updates: [LinearProblem.Update] = [.delta, .generalizedDelta, .lowRank]

  /// Every update and decay with every other option, at lengths around the chunk and the block.
  static let cases: [LinearCase] = {
    var random = SplitMix(state: 11)
    var cases: [LinearCase] = []
    func add(_ linearCase: LinearCase) {
      var seeded = linearCase
      seeded.seed = random.next() % 1000
      cases.append(seeded)
    }
    for update in updates {
      for decay in LinearChunkedTests.decays {
        let plain = LinearCase(
          length: 37, heads: 1, valueHeads: 2, keyDimension: 19, valueDimension: 33, decay: decay,
          update: update, normalizes: true)
        for length in [0, 1, 2, 15, 16, 17, 63, 64, 65, 131] {
          var one = plain
          (one.batch, one.length, one.hasInitialState) = (1, length, length != 131)
          (one.keyDimension, one.valueDimension) = (8 + length % 11, 1 + length % 35)
          add(one)
        }
        var grouped = plain
        (grouped.heads, grouped.valueHeads, grouped.layout) = (2, 4, .transposed)
        add(grouped)
        var half = plain
        (half.length, half.dtype, half.layout) = (
          70, decay == .perToken ? .float16 : .bfloat16, .wide
        )
        add(half)
        for packed in [[0, 0, 70, 70, 71, 90, 90], [0], [0, 0]] {
          var one = plain
          (one.length, one.packed) = (packed.last ?? 0, packed)
          add(one)
        }
        for strongest in [0, -0.05] {
          var one = plain
          (one.length, one.strongest) = (100, strongest)
          add(one)
        }
      }
      add(
        LinearCase(
          batch: 1, length: 66, heads: 1, valueHeads: 1, keyDimension: 256, valueDimension: 3,
          decay: .perChannel, update: update, normalizes: true))
      add(
        LinearCase(
          batch: 1, length: 66, heads: 1, valueHeads: 1, keyDimension: 2, valueDimension: 40,
          decay: .perChannel, update: update, normalizes: true))
    }
    return cases
  }()

  @Test(arguments: cases) func agreesWithReference(_ linearCase: LinearCase) throws {
    try expectAgreement("cpu.erasing", linearCase)
  }

  static let columnCases = updates.flatMap { update in
    [LinearProblem.Decay.perHead, .perChannel].map {
      LinearCase(
        length: 68, heads: 1, valueHeads: 2, keyDimension: 9, valueDimension: 64,
        dtype: update == .delta ? .bfloat16 : .float32, decay: $0, update: update,
        packed: update == .lowRank ? [0, 3, 3, 68] : nil, normalizes: true)
    }
  }

  @Test(arguments: columnCases) func columnsAgreeWithReference(_ linearCase: LinearCase) throws {
    try expectAgreement("cpu.erasing.columns2", linearCase)
  }

  /// A single head leaves threads idle, unless its columns are split.
  @Test func cutsColumnsWhereHeadsAreFew() throws {
    func candidates(heads: Int, width: Int) throws -> Explanation {
      let keys = try Tensor.zeros([1, 4096, heads, 128])
      let values = try Tensor.zeros([1, 4096, heads, width])
      return try OperatorCall<LinearAttention>(
        queries: keys, keys: keys, values: values,
        update: .delta(beta: .zeros([1, 4096, heads]))
      ).explanation(needsGradient: false)
    }
    let many = try candidates(heads: 64, width: 128)
    #expect(many.chosen == "cpu.erasing")
    if Threads.processors > 1 {
      #expect(try candidates(heads: 1, width: 128).chosen?.hasPrefix("cpu.erasing.columns") == true)
    }
    let narrow = try candidates(heads: 1, width: 66)
    let objection = narrow.candidates.first { $0.kernel == "cpu.erasing.columns4" }?.objection
    #expect("\(try #require(objection))".contains("66 columns"))
  }

  static let stepCases = updates.flatMap { update in
    LinearChunkedTests.decays.flatMap { decay in
      [0, 1, 5, 70].map {
        LinearCase(
          length: $0, heads: 1, valueHeads: 2, keyDimension: 19, valueDimension: 33, decay: decay,
          update: update, hasInitialState: $0 != 5, normalizes: true,
          layout: $0 == 5 ? .transposed : .dense)
      }
    }
  }

  @Test(arguments: stepCases) func stepsAgreeWithReference(_ linearCase: LinearCase) throws {
    let arguments = try linearCase.arguments()
    let reference = try arguments.wide()("cpu.reference")
    for set in InstructionSet.supported {
      let result = try InstructionSet.withCurrent(set) { try arguments("cpu.erasing.step") }
      #expect(try relativeError(result.output, reference.output) <= 1e-5, "\(linearCase) \(set)")
      #expect(
        try relativeError(result.finalState, reference.finalState) <= 1e-5, "\(linearCase) \(set)")
    }
  }

  /// The step form for one token, the chunked form for a prompt or for gradients.
  @Test func choosesByLength() throws {
    func chosen(_ length: Int, needsGradient: Bool) throws -> String? {
      let tokens = try Tensor.zeros([1, length, 4, 64])
      return try OperatorCall<LinearAttention>(
        queries: tokens, keys: tokens, values: tokens,
        update: .delta(beta: .zeros([1, length, 4]))
      ).explanation(needsGradient: needsGradient).chosen
    }
    #expect(try chosen(1, needsGradient: false) == "cpu.erasing.step")
    #expect(try chosen(1024, needsGradient: false) == "cpu.erasing")
    #expect(try chosen(1, needsGradient: true) == "cpu.erasing")
  }
}
