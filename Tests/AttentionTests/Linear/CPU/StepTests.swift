import AttentionTensors
import TestSupport
import Testing

@testable import AttentionOperators

@Suite struct LinearStepTests {
  static let cases: [LinearCase] = {
    var cases: [LinearCase] = []
    for decay in [LinearProblem.Decay.none, .perHead, .perToken, .perChannel] {
      for length in [0, 1, 5, 70] {
        for update in [LinearProblem.Update.additive, .additiveBefore] {
          cases.append(
            LinearCase(
              length: length, heads: 1, valueHeads: 2, keyDimension: 19, valueDimension: 33,
              decay: decay, update: update, hasInitialState: length != 5, normalizes: length == 1,
              layout: length == 5 ? .transposed : .dense))
        }
      }
    }
    return cases
  }()

  @Test(arguments: cases) func agreesWithReference(_ linearCase: LinearCase) throws {
    let arguments = try linearCase.arguments()
    let reference = try arguments.wide()("cpu.reference")
    for set in InstructionSet.supported {
      let result = try InstructionSet.withCurrent(set) { try arguments("cpu.step") }
      #expect(try relativeError(result.output, reference.output) <= 1e-5, "\(linearCase) \(set)")
      #expect(
        try relativeError(result.finalState, reference.finalState) <= 1e-5, "\(linearCase) \(set)")
    }
  }
}
