import Tensors
import Testing

@testable import Attention

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
    for update in [LinearProblem.Update.additive] + ErasingTests.updates {
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

  /// A sequence may be cut anywhere, its state carried over, by either kernel.
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

  /// A decay of 2⁻¹² a token remembers thousands of tokens; rounding must not add up over them.
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

  /// Packed sequences do not see each other: each is as if it were alone.
  @Test(arguments: LinearChunkedTests.decays) func packedSequencesAreApart(
    _ decay: LinearProblem.Decay
  ) throws {
    let lengths = [0, 30, 30, 31, 101, 165]
    let linearCase = LinearCase(length: 165, decay: decay, packed: lengths)
    let arguments = try linearCase.arguments()
    let packed = try arguments("cpu.chunked")
    for (index, (start, end)) in zip(lengths, lengths.dropFirst()).enumerated() {
      var alone = try arguments.sliced(
        start..<end, from: arguments.initialState?.sliced(0, index..<index + 1))
      alone.cumulativeLengths = nil
      let result = try alone("cpu.chunked")
      #expect(
        try result.output.elements(as: Float.self)
          == packed.output.sliced(1, start..<end).elements(as: Float.self))
      #expect(
        try result.finalState.elements(as: Float.self)
          == packed.finalState.sliced(0, index..<index + 1).elements(as: Float.self))
    }
  }
}
