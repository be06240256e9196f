import AttentionConformance
import AttentionTensors
import Testing

// One after the other: they set the pool's poison.
@Suite(.serialized) struct ConformanceSuiteTests {
  @Test(arguments: ConformanceSuite.Operator.allCases)
  func kernelsAreRight(operation: ConformanceSuite.Operator) {
    MemoryPool.poisonsFreshMemory = true
    defer { MemoryPool.poisonsFreshMemory = false }
    for test in ConformanceSuite.cases(of: operation, .quick) {
      let result = test.check(seed: 0)
      #expect(result.runs > 0, "no kernel runs \(test.name)")
      for failure in result.failures { Issue.record("\(failure)") }
    }
  }

  @Test(arguments: ConformanceSuite.Operator.allCases)
  func casesHaveNamesOfTheirOwn(operation: ConformanceSuite.Operator) {
    let names = ConformanceSuite.cases(of: operation).map(\.name)
    #expect(Set(names).count == names.count)
    #expect(names.count > 100)
  }

  @Test func everyTwoFeaturesMeet() {
    let cases = ExactCase.all(isQuick: false)
    let pairs = Set(cases.filter { $0.features.count == 2 }.map { Set($0.features) })
    #expect(pairs.contains([.causal, .groupedQuery]))
    #expect(pairs.contains([.packed, .biasInfinite]))
    #expect(!pairs.contains([.packed, .moreKeys]))
    #expect(!pairs.contains([.causal, .window]))
    for length in [0, 1, 2, 63, 64, 65, 127, 200] {
      #expect(cases.contains { $0.queryLength == length }, "\(length)")
    }
  }

  @Test func inputsFollowTheSeed() throws {
    let test = ExactCase.all(isQuick: true)[0]
    func output(_ seed: UInt64) throws -> [Float] {
      let results = try test.makeProblem(seed: seed)
        .results(kernel: "cpu.reference", isExact: false, gradients: false)
      return try #require(results["output"]).elements()
    }
    #expect(try output(1) == output(1))
    #expect(try output(1) != output(2))
  }
}
