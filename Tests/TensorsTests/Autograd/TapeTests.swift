import TestSupport
import Testing

@testable import AttentionTensors

@Suite struct TapeTests {
  @Test func aTensorUsedSeveralTimesGetsAllItsGradients() throws {
    let x = try normal([3], 1)
    try expectGradients(of: [x]) { try $0[0] * $0[0] + $0[0].exponential() * $0[0] }
    try expectGradients(of: [x]) { try .concatenated([$0[0], $0[0], $0[0].squared()], 0) }
  }

  @Test func branchesMeetInTheRightOrder() throws {
    // y is used by an early and by a late operation: its gradient is complete before it is propagated.
    let x = try normal([4], 2)
    try expectGradients(of: [x]) {
      let y = try $0[0].tanh()
      let early = try y * 2
      let late = try (early.exponential() + y).squared()
      return try late * y
    }
  }

  /// Recursive release or recursive differentiation would overflow the stack.
  @Test func aChainOfManyOperationsDoesNotOverflowTheStack() throws {
    let x = try Tensor([1] as [Double]).tracked()
    var y = x
    for _ in 0..<200_000 { y = try -y }
    #expect(try y.gradients(of: [x])[0].item() == 1)
    // With two inputs each, the second with the same history.
    var z = x
    for _ in 0..<30_000 { z = try Tensor.select(Tensor([true]), z, z) }
    #expect(try z.gradients(of: [x])[0].item() == 1)
  }

  @Test func gradientsMayBeAskedOfMiddleTensorsAndOfTheLossItself() throws {
    let x = try Tensor([3] as [Double]).tracked()
    let y = try x.squared()
    let loss = try y * 2
    let gradients = try loss.gradients(of: [loss, y, x])
    #expect(try gradients.map { try $0.item() } == [1, 2, 12])
  }

  @Test func sourcesThatDoNotMatterHaveZeroGradients() throws {
    let x = try Tensor.ones([2]).tracked()
    let other = try Tensor.ones([3, 2], dtype: .bfloat16).tracked()
    let gradients = try x.sum().gradients(of: [other, x])
    #expect(gradients[0].shape == [3, 2])
    #expect(gradients[0].dtype == .bfloat16)
    #expect(try gradients[0].elements(as: Float.self).allSatisfy { $0 == 0 })
    let constant = try Tensor.ones([]).gradients(of: [x])
    #expect(try constant[0].elements(as: Float.self) == [0, 0])
  }

  @Test func untrackedSourcesAndMissingSeedsAreErrors() throws {
    let x = try Tensor.ones([2]).tracked()
    #expect(
      throws: TensorError.invalidArgument(
        "sources[1]", was: "a tensor that is not tracked", mustBe: "tracked() before it is used")
    ) { try x.sum().gradients(of: [x, .ones([2])]) }
    #expect(throws: TensorError.self) { try x.gradients(of: [x]) }
    #expect(throws: TensorError.self) { try x.gradients(of: [x], seed: .ones([3])) }
    #expect(throws: TensorError.self) {
      try x.gradients(of: [x], seed: .ones([2], dtype: .float64))
    }
  }

  @Test func theSeedIsTheGradientThatFlowsIn() throws {
    let x = try Tensor([1, 2, 3] as [Double]).tracked()
    let gradient = try x.squared().gradients(of: [x], seed: Tensor([1, 0, -1] as [Double]))[0]
    #expect(try gradient.elements(as: Double.self) == [2, 0, -6])
  }

  @Test func detachedTensorsPassNothingOn() throws {
    let x = try Tensor([2] as [Double]).tracked()
    let gradient = try (x * x.detached()).gradients(of: [x])[0]
    #expect(try gradient.item() == 2)
    #expect(!gradient.isTracked)
    #expect(try !(x.detached() * 2).isTracked)
  }

  @Test func operationsWithSeveralOutputsSeeWhichGradientsArrived() throws {
    let x = try Tensor([1, 2] as [Double]).tracked()
    let detached = x.detached()
    let outputs = try Tensor.recording(
      [detached * 2, detached * 3, detached.cast(to: .int32)], from: [x]
    ) { gradients in
      #expect(gradients.count == 3)
      #expect(gradients[0] == nil)
      #expect(gradients[2] == nil)
      return [try gradients[1].map { try $0 * 3 }]
    }
    #expect(outputs.map(\.isTracked) == [true, true, false])
    #expect(
      try outputs[1].sum().gradients(of: [x])[0].elements(as: Double.self) == [3, 3])
  }

  @Test func productGradientsMatchHandComputed() throws {
    let a = try Tensor([1, 2, 3, 4, 5, 6] as [Float], [2, 3]).tracked()
    let b = try Tensor([1, 0, 2, -1, 0.5, 3] as [Float], [3, 2]).tracked()
    let c = try a.matmul(b)
    #expect(try c.elements(as: Float.self) == [6.5, 7, 17, 13])
    let gradients = try c.sum().gradients(of: [a, b])
    #expect(try gradients[0].elements(as: Float.self) == [1, 1, 3.5, 1, 1, 3.5])
    #expect(try gradients[1].elements(as: Float.self) == [5, 5, 7, 7, 9, 9])
  }

  @Test func aLayerLearnsTheSameOnAnyNumberOfThreads() throws {
    let x = try normal([700, 40], 1, dtype: .float32)
    let weights = try [
      normal([40, 60], 2, dtype: .float32), normal([60], 3, dtype: .float32),
      normal([60, 30], 4, dtype: .float32),
    ].map { $0.tracked() }
    func run() throws -> [[Float]] {
      let hidden = try x.matmul(weights[0]).rmsNorm(weight: weights[1]).silu()
      let logits = try hidden.matmul(weights[2])
      let targets = try Tensor((0..<700).map { Int32($0 % 30) })
      return try logits.crossEntropy(targets).mean().gradients(of: weights)
        .map { try $0.elements(as: Float.self) }
    }
    let one = try withThreads(1, run)
    for count in [2, 3, 8] {
      let several = try withThreads(count, run)
      #expect(several == one, "\(count) threads")
    }
  }
}
