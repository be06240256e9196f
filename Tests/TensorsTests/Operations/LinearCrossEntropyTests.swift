import TestSupport
import Testing

@testable import AttentionTensors

@Suite struct LinearCrossEntropyTests {
  struct Case: Sendable, CustomTestStringConvertible {
    let rows: Int
    let width: Int
    let classes: Int
    var testDescription: String { "\(rows) rows of \(width), \(classes) classes" }

    func operands(_ dtype: DType) throws -> [Tensor] {
      [
        try normal([rows, width], 1, dtype: dtype).tracked(),
        try normal([classes, width], 2, dtype: dtype, deviation: 0.5).tracked(),
      ]
    }

    /// Every class from the last down; each fifth row is ignored if `skips`.
    func targets(skips: Bool) -> [Int32] {
      (0..<rows).map { skips && $0 % 5 == 2 ? Int32(-1 - $0) : Int32(classes - 1 - $0 % classes) }
    }
  }

  /// The last has more logits than are computed at once: three pieces, one of them short.
  static let cases = [
    Case(rows: 1, width: 1, classes: 1), Case(rows: 7, width: 5, classes: 3),
    Case(rows: 33, width: 16, classes: 257), Case(rows: 0, width: 4, classes: 5),
    Case(rows: 150, width: 3, classes: 70_000),
  ]

  /// The same from all logits at once.
  private func unfused(_ x: Tensor, _ weight: Tensor, _ targets: [Int32]) throws -> Tensor {
    let counted = targets.indices.filter { targets[$0] >= 0 }
    return try x.gatheringRows(Tensor(counted.map(Int32.init)))
      .matmul(weight.transposed()).crossEntropy(Tensor(counted.map { targets[$0] })).mean()
  }

  @Test(arguments: cases, [false, true])
  func equalsTheUnfusedComputation(_ test: Case, skips: Bool) throws {
    let operands = try test.operands(.float32)
    let targets = test.targets(skips: skips)
    let loss = try operands[0].linearCrossEntropy(weight: operands[1], targets: Tensor(targets))
    let expected = try unfused(operands[0], operands[1], targets)
    #expect(loss.shape == [] && loss.dtype == .float32)
    try expectClose(loss, expected, within: 1e-6, "\(test) loss")
    // The gradient of the loss is not 1.
    let seed = try Tensor([Float(-2.5)], [])
    let gradients = try loss.gradients(of: operands, seed: seed)
    let reference = try expected.gradients(of: operands, seed: seed)
    for (index, pair) in zip(gradients, reference).enumerated() {
      // Both round each sum of products once; pieces add a rounding for each piece.
      try expectClose(pair.0, pair.1, within: 1e-6, "\(test) gradient \(index)")
    }
  }

  @Test func definitionHasTheGradientsOfDifferences() throws {
    let test = Case(rows: 6, width: 3, classes: 4)
    let operands = try test.operands(.float64).map { $0.detached() }
    try expectGradients(of: operands) {
      try $0[0].linearCrossEntropy(weight: $0[1], targets: Tensor(test.targets(skips: true)))
    }
  }

  @Test(arguments: [DType.bfloat16, .float16])
  func halfPrecisionIsAsGoodAsUnfused(_ dtype: DType) throws {
    let test = Case(rows: 40, width: 24, classes: 50)
    let targets = test.targets(skips: false)
    let exact = try test.operands(.float64)
    let reference = try unfused(exact[0], exact[1], targets)
    let expected = try [reference] + reference.gradients(of: exact)
    func errors(_ function: ([Tensor]) throws -> Tensor) throws -> [Double] {
      let operands = try exact.map { try $0.detached().cast(to: dtype).tracked() }
      let loss = try function(operands)
      let actual = try [loss] + loss.gradients(of: operands)
      #expect(actual.map(\.dtype) == [.float32, dtype, dtype])
      return try zip(actual, expected).map { try relativeError($0, $1) }
    }
    let own = try errors { try $0[0].linearCrossEntropy(weight: $0[1], targets: Tensor(targets)) }
    let plain = try errors { try unfused($0[0], $0[1], targets) }
    for (index, pair) in zip(own, plain).enumerated() {
      #expect(pair.0 <= 2 * pair.1, "result \(index)")
    }
  }

  @Test func onlyWhatIsTrackedHasAGradient() throws {
    let operands = try Case(rows: 5, width: 4, classes: 6).operands(.float32)
    let targets = try Tensor([0, 1, 2, 3, 4] as [Int32])
    let both = try operands[0].linearCrossEntropy(weight: operands[1], targets: targets)
      .gradients(of: operands)
    for place in 0...1 {
      let own = try (place == 0 ? operands[0] : operands[0].detached()).linearCrossEntropy(
        weight: place == 1 ? operands[1] : operands[1].detached(), targets: targets)
      try expectClose(own.gradients(of: [operands[place]])[0], both[place], within: 0)
    }
    let plain = try operands[0].detached()
      .linearCrossEntropy(weight: operands[1].detached(), targets: targets)
    #expect(!plain.isTracked)
  }

  @Test func wrongArgumentsAreNamed() throws {
    let x = try Tensor.ones([2, 3])
    func message(_ weight: Tensor, _ targets: [Int32]) -> String {
      do { return "\(try x.linearCrossEntropy(weight: weight, targets: Tensor(targets)))" } catch {
        return "\(error)"
      }
    }
    let weight = try Tensor.ones([4, 3])
    #expect(message(weight, [0, 4]) == "targets[1] is 4; it must be below 4")
    #expect(message(weight, [0]) == "targets is Tensor(int32 [1]); it must be int32 [2]")
    #expect(
      message(try weight.cast(to: .float64), [0, 0])
        == "weight is Tensor(float64 [4, 3]); it must be float32 [classes, 3]")
    #expect(message(try .ones([4, 2]), [0, 0]).hasPrefix("weight is"))
  }
}
