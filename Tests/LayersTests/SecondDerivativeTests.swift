import AttentionLayers
import AttentionTensors
import TestSupport
import Testing

@Suite struct LayerSecondDerivativeTests {
  @Test func projectionsHaveThoseOfDifferences() throws {
    try expectDerivatives(of: [normal([2, 3, 4], 1), normal([5, 4], 2)]) {
      try $0[0].multiplied(byRowsOf: $0[1]).tanh()
    }
  }

  @Test func rotaryPositionsHaveThoseOfTheirDefinition() throws {
    let rotary = try RotaryEmbedding(dimension: 6)
    let context = try TokenContext(batch: 2, length: 5)
    func second(_ dtype: DType) throws -> Tensor {
      let x = try normal([2, 5, 3, 6], 1).cast(to: dtype).tracked()
      let loss = try rotary(x, context: context).exponential().sum()
      let slope = try loss.gradients(of: [x], areDifferentiable: true)[0]
      return try slope.squared().sum().gradients(of: [x])[0]
    }
    try expectClose(second(.float32), second(.float64), within: 1e-4)
  }
}
