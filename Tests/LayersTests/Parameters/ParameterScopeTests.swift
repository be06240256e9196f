import AttentionTensors
import Testing

@testable import AttentionLayers

@Suite struct ParameterScopeTests {
  @Test func numbersDependOnSeedAndPathOnly() throws {
    func drawn(_ names: [String], seed: UInt64) throws -> Parameters {
      let scope = ParameterScope(seed: seed)["a"]
      for name in names { _ = try scope.parameter(name, [3, 5], .normal(standardDeviation: 1)) }
      return scope.parameters
    }
    let first = try drawn(["x", "y"], seed: 1)
    let second = try drawn(["y", "x"], seed: 1)
    let other = try drawn(["x", "y"], seed: 2)
    #expect(first.paths == ["a.x", "a.y"])
    #expect(first.count == 30)
    func numbers(_ parameters: Parameters, _ path: String) throws -> [Float]? {
      try parameters[path]?.elements(as: Float.self)
    }
    #expect(try numbers(first, "a.x") == numbers(second, "a.x"))
    #expect(try numbers(first, "a.x") != numbers(first, "a.y"))
    #expect(try numbers(first, "a.x") != numbers(other, "a.x"))
  }

  @Test func initializersDrawWhatTheySay() throws {
    let scope = ParameterScope(seed: 3)
    let count = 10_000
    let normal = try scope.parameter("n", [count], .scaledNormal(inputs: 25, scale: 2))
    // The mean of n draws of deviation σ has deviation σ/√n, and their variance σ²√(2/n).
    let values = try normal.elements(as: Double.self)
    let mean = values.reduce(0, +) / Double(count)
    let variance = values.reduce(0) { $0 + $1 * $1 } / Double(count)
    #expect(abs(mean) < 5 * 0.4 / 100)
    #expect(abs(variance - 0.16) < 5 * 0.16 * (2 / Double(count)).squareRoot())
    let uniform = try scope.parameter("u", [count], .uniform(from: -3, to: -1))
      .elements(as: Double.self)
    #expect(uniform.allSatisfy { $0 >= -3 && $0 < -1 })
    #expect(abs(uniform.reduce(0, +) / Double(count) + 2) < 5 * 0.58 / 100)
    #expect(try scope.parameter("z", [2], .zeros).elements(as: Float.self) == [0, 0])
    #expect(try scope.parameter("o", [2], .ones).elements(as: Float.self) == [1, 1])
    #expect(try scope.parameter("c", [2], .constant(8)).elements(as: Float.self) == [8, 8])
  }

  @Test func readingNamesWhatIsWrong() throws {
    let given = try Parameters([
      (path: "a.weight", tensor: Tensor.zeros([2, 3])), (path: "b", tensor: Tensor.zeros([1])),
    ])
    let scope = ParameterScope(given)
    #expect(
      throws: LayerError.missingParameter(path: "a.bias", expected: "float32 [2]")
    ) { try scope["a"].parameter("bias", [2], .zeros) }
    #expect(
      throws: LayerError.mismatchedParameter(
        path: "a.weight", was: "float32 [2, 3]", mustBe: "float32 [3, 2]")
    ) { try scope["a"].parameter("weight", [3, 2], .zeros) }
    #expect(
      throws: LayerError.mismatchedParameter(
        path: "b", was: "float32 [1]", mustBe: "float64 [1]")
    ) { try ParameterScope(given, dtype: .float64).parameter("b", [1], .zeros) }
    _ = try scope["a"].parameter("weight", [2, 3], .zeros)
    #expect(throws: LayerError.duplicateParameter(path: "a.weight")) {
      try scope["a"].parameter("weight", [2, 3], .zeros)
    }
    #expect(throws: LayerError.unusedParameters(paths: ["b"])) { try scope.requireAllUsed() }
    _ = try scope.parameter("b", [1], .zeros)
    try scope.requireAllUsed()
  }

  @Test func replacementsMustFit() throws {
    let given = try Parameters([(path: "a", tensor: Tensor.zeros([2]))])
    #expect(try given.replacing([.ones([2])])["a"]?.elements(as: Float.self) == [1, 1])
    #expect(throws: LayerError.self) { try given.replacing([]) }
    #expect(throws: LayerError.self) { try given.replacing([.ones([3])]) }
    #expect(throws: LayerError.self) { try given.replacing([.ones([2], dtype: .float64)]) }
    #expect(throws: LayerError.duplicateParameter(path: "a")) {
      try Parameters([(path: "a", tensor: Tensor.zeros([2])), ("a", Tensor.zeros([2]))])
    }
  }
}
