import TestSupport
import Testing

@testable import AttentionTensors

@Suite struct SecondDerivativeTests {
  struct Operation: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let shapes: [Shape]
    let apply: @Sendable ([Tensor]) throws -> Tensor

    init(
      _ name: String, _ shapes: [Shape] = [[2, 3]],
      _ apply: @escaping @Sendable ([Tensor]) throws -> Tensor
    ) {
      testDescription = name
      self.shapes = shapes
      self.apply = apply
    }

    /// Operands between 0.5 and 2, where every function here is smooth.
    func operands() throws -> [Tensor] {
      try shapes.enumerated().map { index, shape in
        var generator = Philox(seed: UInt64(40 + index))
        return try .uniform(shape, from: 0.5, to: 2, using: &generator, dtype: .float64)
      }
    }
  }

  static let pair: [Shape] = [[2, 3], [3]]

  static let operations: [Operation] = [
    Operation("+", pair) { try $0[0] + $0[1] }, Operation("-", pair) { try $0[0] - $0[1] },
    Operation("*", pair) { try $0[0] * $0[1] }, Operation("/", pair) { try $0[0] / $0[1] },
    Operation("maximum", pair) { try ($0[0].squared()).maximum($0[1]) },
    Operation("minimum", pair) { try ($0[0].squared()).minimum($0[1]) },
    Operation("select", pair) {
      try .select($0[0].isGreater(than: $0[1]), $0[0] * $0[1], $0[1].exponential())
    },
    Operation("numbers") { try (($0[0] + 0.5) * 3 - 1) / 2 * $0[0] },
    Operation("matmul", [[2, 3], [3, 2]]) { try $0[0].matmul($0[1]) },
    Operation("matmul of rows", [[2, 2, 3], [3, 2]]) { try $0[0].matmul($0[1]) },
    Operation("matmul that broadcasts", [[2, 1, 2, 3], [2, 3, 2]]) { try $0[0].matmul($0[1]) },
    Operation("sum") { try $0[0].squared().sum([0]) },
    Operation("mean") { try $0[0].squared().mean([-1], keepsAxes: true) },
    Operation("views", [[2, 3, 4]]) {
      let x = try $0[0].transposed().reshaped([8, 3]).sliced(0, 1..<7)
      let parts = try x.split(0, sizes: [2, 4])
      let y = try Tensor.concatenated([parts[1].squared(), parts[0] * parts[0]], 0)
      return try y.unsqueezed(0).expanded(to: [2, 6, 3]).permuted([2, 0, 1]).contiguous()
    },
    Operation("gatheringRows", [[4, 2]]) {
      try $0[0].squared().gatheringRows(Tensor([3, 0, 3, 1] as [Int32], [2, 2]))
    },
    Operation("softmax") { try $0[0].softmax() },
    Operation("crossEntropy") { try $0[0].crossEntropy(Tensor([2, 0] as [Int32])) },
    Operation("linearCrossEntropy", [[3, 2], [4, 2]]) {
      try $0[0].linearCrossEntropy(weight: $0[1], targets: Tensor([3, -1, 0] as [Int32]))
    },
    Operation("rmsNorm", pair) { try $0[0].rmsNorm(weight: $0[1], epsilon: 1e-3) },
    Operation("l2Normalized") { try $0[0].l2Normalized(epsilon: 1e-3) },
    Operation("swiglu", [[2, 3], [2, 3]]) { try .swiglu($0[0], $0[1]) },
    Operation("logSigmoid dividedBy") { try $0[0].logSigmoid(dividedBy: 16) },
    Operation("logSigmoid boundedBy", pair) { try $0[0].logSigmoid(boundedBy: $0[1] * 0.4) },
    Operation("used twice", pair) { try $0[0].tanh() * $0[0] + $0[1].sigmoid() * $0[0] },
  ]

  @Test(arguments: operations)
  func areThoseOfDifferences(_ operation: Operation) throws {
    try expectDerivatives(of: operation.operands(), operation.testDescription, operation.apply)
  }

  @Test(arguments: UnaryTests.functions)
  func ofFunctionsAreThoseOfDifferences(_ function: UnaryTests.Function) throws {
    let points = function.domain.filter { abs($0) >= 0.2 && abs($0) <= 8 }
    try expectDerivatives(upTo: 3, of: [Tensor(points)], function.name) {
      try function.apply($0[0])
    }
  }

  @Test func everyOrderIsRight() throws {
    // The derivatives of x⁴ at 3, and of products with mixed ones.
    let x = try Tensor([3] as [Double]).tracked()
    var derivative = try x.squared().squared()
    for expected in [108, 108, 72, 24, 0] as [Double] {
      derivative = try derivative.gradients(of: [x], areDifferentiable: true)[0]
      #expect(try derivative.item() == expected)
    }
    try expectDerivatives(upTo: 3, of: [normal([3], 1), normal([3], 2)]) {
      try ($0[0] * $0[1]).exponential() / ($0[1].squared() + 1)
    }
  }

  @Test func theGradientOfAGradientIsRightOrAnError() throws {
    let t = try Tensor([1, 2, 3] as [Float]).tracked()
    let loss = try t.squared().sum()
    let slope = try loss.gradients(of: [t], areDifferentiable: true)[0]
    #expect(try slope.sum().gradients(of: [t])[0].elements(as: Float.self) == [2, 2, 2])
    // Without a record it is an error, not a silent zero, whatever is done with the gradient in between.
    let constant = try loss.gradients(of: [t])[0]
    #expect(!constant.isTracked)
    for use: (Tensor) throws -> Tensor in [
      { $0 }, { try ($0 * t).sum() }, { try $0.exponential().sum() },
      { try $0.cast(to: .bfloat16).silu().sum() },
      {
        try $0.reshaped([1, 3]).softmax().linearCrossEntropy(
          weight: Tensor.ones([2, 3]), targets: Tensor([0] as [Int32]))
      },
    ] {
      #expect(
        throws: TensorError.invalidArgument(
          "tensor", was: "computed from gradients that were not recorded",
          mustBe:
            "computed from gradients(of:seed:areDifferentiable: true), or from detached() ones if they are constants"
        )
      ) {
        try use(constant).gradients(
          of: [t], seed: .ones(use(constant).shape, dtype: use(constant).dtype))
      }
    }
    // It is zero if the caller detaches it, or if the sources were tracked later.
    #expect(try (constant.detached() * t).sum().gradients(of: [t])[0].elements() == [2, 4, 6])
    let later = try Tensor([1, 1, 1] as [Float]).tracked()
    #expect(try (constant * later).sum().gradients(of: [later])[0].elements() == [2, 4, 6])
    #expect(try (t - constant * 0.5).tracked().isTracked)
  }

  @Test func trainingKeepsNothingOfItsGradients() throws {
    // Gradient descent written with tensors: what is computed from gradients is not recorded.
    var weight = try Tensor([4] as [Double])
    var momentum = try Tensor([0] as [Double])
    for _ in 0..<200 {
      let leaf = weight.tracked()
      let gradient = try (leaf - 1).squared().sum().gradients(of: [leaf])[0]
      momentum = try momentum * 0.5 + gradient
      weight = try weight - momentum * 0.1
      #expect(!momentum.isTracked && !weight.isTracked)
      #expect(momentum.origin?.operation.inputs.isEmpty == true)
    }
    #expect(try abs(weight.item() - 1) < 1e-6)
  }

  /// The gradients of float32 rows come from fused kernels; their derivatives from the definition.
  @Test(arguments: FusedRowTests.rows, [DType.float32, .bfloat16])
  func fusedRowsHaveThoseOfTheirDefinition(_ row: FusedRowTests.Row, _ dtype: DType) throws {
    try expectSecondDerivatives(of: row, dtype, on: .cpu)
  }

  @Test(.onGPU, arguments: FusedRowTests.rows, [DType.float32, .bfloat16])
  func soDoThoseOfAGPU(_ row: FusedRowTests.Row, _ dtype: DType) throws {
    try expectSecondDerivatives(of: row, dtype, on: GPU.device)
  }

  private func expectSecondDerivatives(
    of row: FusedRowTests.Row, _ dtype: DType, on device: Device
  ) throws {
    let inputs = try row.inputs([5, 7]).map { try $0.cast(to: dtype) }
    func second(_ inputs: [Tensor]) throws -> [Tensor] {
      let leaves = inputs.map { $0.tracked() }
      let output = try row.function(leaves)
      let seed = try normal(output.shape, 9).cast(to: output.dtype).moved(to: output.device)
      let first = try output.gradients(of: leaves, seed: seed, areDifferentiable: true)
      for (a, b) in zip(first, try output.gradients(of: leaves, seed: seed)) {
        try expectClose(a, b, within: dtype == .float32 ? 1e-5 : 1e-2, row.name)
      }
      let sums = try first.map { try $0.squared().cast(to: .float64).sum() }
      return try sums.dropFirst().reduce(sums[0], +).gradients(of: leaves)
    }
    let expected = try second(inputs.map { try $0.cast(to: .float64) })
    for (actual, right) in zip(try second(inputs.map { try $0.moved(to: device) }), expected) {
      #expect(actual.dtype == dtype)
      #expect(actual.device == device)
      try expectClose(actual, right, within: dtype == .float32 ? 1e-4 : 2e-2, row.name)
    }
  }

  @Test func kernelsThatComputeGradientsWithTheirResultSayThatTheyHaveNone() throws {
    let x = try normal([3, 2], 1, dtype: .float32).tracked()
    let loss = try x.linearCrossEntropy(
      weight: normal([4, 2], 2, dtype: .float32), targets: Tensor([3, -1, 0] as [Int32]))
    let slope = try loss.gradients(of: [x], areDifferentiable: true)[0]
    try expectClose(slope, loss.gradients(of: [x])[0], within: 0)
    #expect(throws: TensorError.noSecondDerivative(operation: "linearCrossEntropy")) {
      try slope.sum().gradients(of: [x])
    }
    // An external operation, recorded in the simple way.
    let square = try (x.detached() * x.detached()).recorded(from: [x], operation: "square") { g in
      [g]
    }
    let other = try square.sum().gradients(of: [x], areDifferentiable: true)[0]
    #expect(throws: TensorError.noSecondDerivative(operation: "square")) {
      try (other * x).sum().gradients(of: [x])
    }
  }

  @Test func severalOutputsAreDifferentiatedTogether() throws {
    let x = try Tensor([2] as [Double]).tracked()
    let seed = try Tensor([5] as [Double]).tracked()
    let gradient = try Tensor.gradients(
      of: [x], through: [(x.squared(), seed), (x.exponential(), nil), (x * x * x, nil)],
      areDifferentiable: true)[0]
    let second = try gradient.gradients(of: [x, seed])
    #expect(try second.map { try $0.item() } == [10, 4])
  }
}
