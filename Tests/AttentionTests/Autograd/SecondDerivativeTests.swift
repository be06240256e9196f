import AttentionOperators
import AttentionTensors
import TestSupport
import Testing

/// Operators whose gradients come from fused kernels have no second derivative, and throw.
@Suite struct OperatorSecondDerivativeTests {
  struct Operator: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let apply: @Sendable (_ x: Tensor) throws -> Tensor
  }

  static let operators: [Operator] = [
    Operator(testDescription: "attention") {
      try attention(queries: $0, keys: $0, values: $0).output
    },
    Operator(testDescription: "linearAttention") {
      try linearAttention(queries: $0, keys: $0, values: $0).output
    },
    Operator(testDescription: "gatedSlotAttention") {
      try gatedSlotAttention(queries: $0, keys: $0, values: $0, decay: -$0.sigmoid()).output
    },
    Operator(testDescription: "gatedScan") {
      let x = try $0.reshaped([1, 5, 8])
      return try gatedScan(inputs: x, decay: -x.sigmoid()).output
    },
    Operator(testDescription: "selectiveScan") {
      let x = try $0.reshaped([1, 5, 8])
      let matrix = try x.sliced(2, 0..<4)
      return try selectiveScan(
        inputs: x, step: x.sigmoid(), stateMatrix: -Tensor.ones([8, 4]), inputMatrix: matrix,
        outputMatrix: matrix
      ).output
    },
    Operator(testDescription: "shortConvolution") {
      try shortConvolution(inputs: $0.reshaped([1, 5, 8]), weight: .ones([8, 3])).output
    },
  ]

  @Test(arguments: operators)
  func operatorsNameThemselves(_ tested: Operator) throws {
    let x = try normal([1, 5, 2, 4], 1, dtype: .float32).tracked()
    let loss = try tested.apply(x).squared().sum()
    let slope = try loss.gradients(of: [x], areDifferentiable: true)[0]
    let plain = try loss.gradients(of: [x])[0]
    try expectClose(slope, plain, within: 0)
    #expect(throws: TensorError.noSecondDerivative(operation: tested.testDescription)) {
      try slope.sum().gradients(of: [x])
    }
    // Without a record it is an error too, even if an operator is applied to the gradient.
    let message = "computed from gradients that were not recorded"
    for use in [{ $0 }, tested.apply] as [@Sendable (Tensor) throws -> Tensor] {
      let error = #expect(throws: TensorError.self) { try use(plain).sum().gradients(of: [x]) }
      #expect(error.map { "\($0)".contains(message) } == true)
    }
  }
}
