import AttentionTensors
import TestSupport
import Testing

@testable import AttentionOperators

@Suite struct LinearContinuationTests {
  struct Split: CustomStringConvertible {
    var linearCase: LinearCase
    var place: Int
    var first: String
    var second: String

    var description: String { "\(linearCase) split at \(place), \(first) then \(second)" }
  }

  static let splits: [Split] = {
    var splits: [Split] = []
    for update in [LinearProblem.Update.additive, .additiveBefore] + ErasingTests.updates {
      let (chunked, step) =
        update.isErasing ? ("cpu.erasing", "cpu.erasing.step") : ("cpu.chunked", "cpu.step")
      for decay in LinearChunkedTests.decays {
        for (place, first, second) in [
          (0, chunked, chunked), (64, chunked, chunked), (50, chunked, step), (99, step, chunked),
          (100, chunked, step),
        ] {
          splits.append(
            Split(
              linearCase: LinearCase(
                length: 100, valueHeads: 4, decay: decay, update: update, normalizes: true),
              place: place, first: first, second: second))
        }
      }
    }
    return splits
  }()

  /// Kernels that split sequences or columns themselves continue from a state like the others.
  @Test(arguments: [
    ("cpu.split", LinearProblem.Update.additive), ("cpu.split", .additiveBefore),
    ("cpu.erasing.columns2", .delta), ("cpu.erasing.columns2", .lowRank),
  ]) func cuttingKernelsContinue(_ kernel: String, _ update: LinearProblem.Update) throws {
    let length = 1300
    let linearCase = LinearCase(
      batch: 1, length: length, heads: 1, valueHeads: 1, keyDimension: 8, valueDimension: 64,
      decay: .perChannel, update: update, normalizes: true)
    let arguments = try linearCase.arguments()
    let whole = try arguments(kernel)
    for place in [600, 1299] {
      let first = try arguments.sliced(0..<place, from: arguments.initialState)(kernel)
      let second = try arguments.sliced(place..<length, from: first.finalState)(nil)
      #expect(
        try relativeError(second.output, whole.output.sliced(1, place..<length)) <= 1e-5,
        "\(kernel) cut at \(place), \(linearCase)")
      #expect(try relativeError(second.finalState, whole.finalState) <= 1e-5)
    }
  }

  /// A sequence split anywhere, with its state carried over, gives the same result with either kernel.
  @Test(arguments: splits) func continuesWhereItWasCut(_ split: Split) throws {
    let arguments = try split.linearCase.arguments()
    let whole = try arguments(split.linearCase.update.isErasing ? "cpu.erasing" : "cpu.chunked")
    let first = try arguments.sliced(0..<split.place, from: arguments.initialState)(
      split.first)
    let second = try arguments.sliced(
      split.place..<split.linearCase.length, from: first.finalState)(split.second)
    let outputs = (
      try whole.output.sliced(1, 0..<split.place),
      try whole.output.sliced(1, split.place..<split.linearCase.length)
    )
    #expect(try relativeError(first.output, outputs.0) <= 1e-5, "\(split)")
    #expect(try relativeError(second.output, outputs.1) <= 1e-5, "\(split)")
    #expect(try relativeError(second.finalState, whole.finalState) <= 1e-5, "\(split)")
  }

  /// With a decay of 2⁻¹² per token the state spans thousands of tokens; rounding must not accumulate over them.
  @Test(arguments: ["cpu.step", "cpu.chunked"]) func slowDecayKeepsPrecision(
    _ kernel: String
  ) throws {
    let linearCase = LinearCase(
      batch: 1, length: 3000, heads: 1, valueHeads: 1, keyDimension: 4, valueDimension: 3,
      decay: .perHead)
    var arguments = try linearCase.arguments()
    arguments.decay = try Tensor([-0x1.1p-12 as Float])
    // Values of one sign, so that the state is a sum without cancellation.
    arguments.keys = try arguments.keys.absolute()
    arguments.values = try arguments.values.absolute()
    let reference = try arguments.wide()("cpu.reference")
    let result = try arguments(kernel)
    #expect(try relativeError(result.finalState, reference.finalState) <= 1e-5)
    #expect(try relativeError(result.output, reference.output) <= 1e-5)
  }

  static let packings: [(kernel: String, linearCase: LinearCase)] = {
    let plain = LinearCase(length: 165, packed: [0, 30, 30, 31, 101, 165])
    var packings = LinearChunkedTests.decays.map { decay in
      var linearCase = plain
      linearCase.decay = decay
      return (kernel: "cpu.chunked", linearCase: linearCase)
    }
    for update in ErasingTests.updates {
      var linearCase = plain
      (linearCase.decay, linearCase.update) = (.perChannel, update)
      (linearCase.normalizes, linearCase.valueDimension) = (true, 64)
      for kernel in ["cpu.erasing", "cpu.erasing.columns2", "cpu.erasing.step"] {
        packings.append((kernel, linearCase))
      }
    }
    return packings
  }()

  /// Packed sequences are independent: each gives the result that it gives alone.
  @Test(arguments: packings.indices) func packedSequencesAreApart(_ index: Int) throws {
    let (kernel, linearCase) = Self.packings[index]
    let lengths = try #require(linearCase.packed)
    let arguments = try linearCase.arguments()
    let packed = try arguments(kernel)
    for (index, (start, end)) in zip(lengths, lengths.dropFirst()).enumerated() {
      var alone = try arguments.sliced(
        start..<end, from: arguments.initialState?.sliced(0, index..<index + 1))
      alone.cumulativeLengths = nil
      let result = try alone(kernel)
      #expect(
        try result.output.elements(as: Float.self)
          == packed.output.sliced(1, start..<end).elements(as: Float.self),
        "\(kernel), \(linearCase)")
      #expect(
        try result.finalState.elements(as: Float.self)
          == packed.finalState.sliced(0, index..<index + 1).elements(as: Float.self),
        "\(kernel), \(linearCase)")
    }
  }
}
