import Testing

@testable import AttentionOperators
@testable import AttentionTensors

/// Masked elements have no influence. The conformance cases test, with all other features, that NaN there does not
/// propagate; these tests cover the rest.
@Suite struct HiddenTests {
  /// float32 normals with `garbage` at the rows `rows` of axis 1 of both batch entries.
  private func normal(
    _ shape: Shape, _ random: inout Philox, rows: Range<Int>, _ garbage: Double, dtype: DType
  ) throws -> Tensor {
    let numbers = try Tensor.normal(shape, using: &random, dtype: dtype)
    let isHidden = try Tensor((0..<shape[1]).map(rows.contains), [1, shape[1], 1, 1])
    return try .select(isHidden, Tensor([garbage], []).cast(to: dtype), numbers)
  }

  @Test(arguments: ["cpu.tiled", "cpu.tiled.bfloat16", "cpu.decode"])
  func maskedKeysChangeNoBit(kernel: String) throws {
    let dtype: DType = kernel == "cpu.tiled.bfloat16" ? .bfloat16 : .float32
    if kernel == "cpu.tiled.bfloat16", InstructionSet.current.kernels.has_bf16 == 0 { return }
    // Enough queries that their norms may bound the scores.
    let t = kernel == "cpu.decode" ? 2 : 520
    let s = 300
    var outputs: [[Float]] = []
    for garbage in [0, Double.nan, .infinity] {
      var random = Philox(seed: 7, label: kernel)
      let queries = try Tensor.normal([2, t, 2, 32], using: &random, dtype: dtype)
      let keys = try normal([2, s, 2, 32], &random, rows: 130..<141, garbage, dtype: dtype)
      let values = try normal([2, s, 2, 24], &random, rows: 130..<141, garbage, dtype: dtype)
      let keep = try Tensor((0..<2 * s).map { !(130..<141).contains($0 % s) }, [2, s])
      let result = try attention(
        queries: queries, keys: keys, values: values, mask: AttentionMask(keyMask: keep),
        kernel: kernel)
      outputs.append(try result.output.elements(as: Float.self))
    }
    // Outside of the macro, which would print all numbers.
    let areSame = outputs[0] == outputs[1] && outputs[0] == outputs[2]
    #expect(areSame)
  }

  @Test(arguments: [DType.float32, .bfloat16, .float16])
  func queriesWithoutGradientsGiveNone(dtype: DType) throws {
    // Right padding: its queries attend to earlier keys, and their results are unused.
    let t = 70
    let padding = 60..<70
    func gradients(_ garbage: Double, _ kernel: String) throws -> [Tensor] {
      var random = Philox(seed: 3, label: "padding")
      let inputs = try (0..<3).map { _ in
        try normal([2, t, 2, 16], &random, rows: padding, garbage, dtype: dtype).tracked()
      }
      let keep = try Tensor((0..<2 * t).map { !padding.contains($0 % t) }, [2, t])
      let result = try attention(
        queries: inputs[0], keys: inputs[1], values: inputs[2],
        mask: AttentionMask(isCausal: true, keyMask: keep), kernel: kernel)
      let seed = try normal([2, t, 2, 16], &random, rows: padding, 0, dtype: dtype)
      return try Tensor.gradients(of: inputs, through: [(result.output, seed)])
    }
    let clean = try gradients(0, "cpu.tiled")
    for kernel in ["cpu.tiled", "cpu.tiled.bfloat16", "cpu.unfused", "cpu.reference"] {
      if kernel == "cpu.tiled.bfloat16",
        dtype != .bfloat16 || InstructionSet.current.kernels.has_bf16 == 0
      {
        continue
      }
      for (gradient, expected) in try zip(gradients(.nan, kernel), clean) {
        let far = try (gradient.cast(to: .float32) - expected.cast(to: .float32)).absolute()
          .elements(as: Float.self)
        #expect(far.allSatisfy { $0 < (dtype == .float32 ? 1e-4 : 0.1) }, "\(kernel)")
      }
    }
  }
}
