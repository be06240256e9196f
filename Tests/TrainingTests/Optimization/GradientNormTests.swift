import AttentionTensors
import Testing

@testable import AttentionTraining

@Suite struct GradientNormTests {
  @Test func normIsThatOfAllTensorsTogether() throws {
    let gradients = [
      try Tensor([3, 0, 0].map(Float.init)), try Tensor([0, 4].map(Float.init), [2, 1]),
      try Tensor([Float](), [0]), try Tensor.full([40_000], 0.01),
    ]
    // 9 + 16 + 40000 · 1e-4; blocks are summed in float32.
    #expect(abs(try GradientNorm.norm(of: gradients) - 29.0.squareRoot()) < 1e-5)
    #expect(try GradientNorm.norm(of: []) == 0)
  }

  @Test func onlyLongGradientsAreShortened() {
    #expect(GradientNorm.clipFactor(norm: 4, limit: 1) == 0.25)
    #expect(GradientNorm.clipFactor(norm: 0.5, limit: 1) == 1)
    #expect(GradientNorm.clipFactor(norm: 0, limit: 1) == 1)
  }

  @Test func otherDTypesAreRefused() {
    #expect(throws: TensorError.self) {
      _ = try GradientNorm.norm(of: [.zeros([3], dtype: .float64)])
    }
  }
}
