import AttentionCLibrary
import TestSupport
import Testing

@testable import AttentionTensors

/// Composed operations compared with their scalar definitions.
@Suite struct ComposedOperationTests {
  /// Calls `check` with `values` in every floating-point type, and the tolerance for results.
  private func inEveryType(
    _ values: [Double], _ check: (_ x: Tensor, _ tolerance: Double) throws -> Void
  ) throws {
    for (dtype, tolerance) in [
      (.float64, 1e-14), (.float32, 1e-6), (.float16, 2e-3), (.bfloat16, 1e-2),
    ] as [(DType, Double)] {
      try check(Tensor(values).cast(to: dtype), tolerance)
    }
  }

  @Test func geluIsTheNumberTimesItsProbability() throws {
    let values = [-9, -3.5, -1, -1e-3, 0, 0.2, 1.7, 6]
    try inEveryType(values) { x, tolerance in
      let numbers = try x.elements(as: Double.self)
      let exact = numbers.map { $0 * 0.5 * erfc(-$0 / 2.0.squareRoot()) }
      let result = try x.gelu()
      #expect(result.dtype == x.dtype)
      try expectClose(result, Tensor(exact), within: tolerance, "\(x.dtype)")
      // Each number by itself, where the type has small ones: rounding x changes e^(−x²/2) by a fraction x².
      for (index, right) in exact.enumerated() where !x.dtype.isHalfPrecision {
        try expectClose(
          result[index], Tensor([right], []),
          within: tolerance * (1 + numbers[index] * numbers[index]),
          "\(x.dtype) \(numbers[index])")
      }
      let smooth = numbers.map {
        let inner = (2 / Double.pi).squareRoot() * ($0 + 0.044715 * $0 * $0 * $0)
        return 0.5 * $0 * (1 + tanh(inner))
      }
      try expectClose(x.gelu(usesTanh: true), Tensor(smooth), within: tolerance, "\(x.dtype)")
    }
    let x = try Tensor([-2, -0.3, 0, 0.7, 2.5])
    try expectGradients(of: [x], "gelu") { try $0[0].gelu() }
    try expectDerivatives(upTo: 3, of: [x], "gelu") { try $0[0].gelu() }
    try expectDerivatives(upTo: 3, of: [x], "gelu by tanh") { try $0[0].gelu(usesTanh: true) }
    #expect(throws: TensorError.self) { try Tensor.range(3).gelu() }
  }

  @Test func powersAreThoseOfTheCLibrary() throws {
    let bases = [-2, -1, 0, 0.5, 1, 3, .infinity, .nan]
    for exponent in [-2, -1, 0, 0.5, 1, 2, 3.7] {
      try inEveryType(bases) { x, tolerance in
        let numbers = try x.elements(as: Double.self)
        let right = try Tensor(numbers.map { pow($0, exponent) })
        try expectClose(x.power(exponent), right, within: tolerance, "\(x.dtype) ^ \(exponent)")
      }
    }
    #expect(try Tensor([0, .nan]).power(0).elements() == [1, 1])
    try expectGradients(of: [Tensor([-2, 0, 1.5])]) { try $0[0].power(3) }
    try expectDerivatives(upTo: 3, of: [Tensor([0.5, 1, 2]), Tensor([1.5, -2])]) {
      try $0[0].unsqueezed(1).power($0[1])
    }
    // At 0 the derivatives that exist are finite.
    let zero = try Tensor([0, 0, 0] as [Float]).tracked()
    let exponents = try Tensor([0, 1, 2] as [Float]).tracked()
    let gradients = try zero.power(exponents).sum().gradients(of: [zero, exponents])
    #expect(try gradients.map { try $0.elements(as: Float.self) } == [[0, 1, 0], [0, 0, 0]])
    #expect(throws: TensorError.self) { try Tensor.range(3).power(2) }
    #expect(throws: TensorError.self) { try Tensor.range(3).power(Tensor.range(3)) }
  }

  @Test func clampingMovesWhatIsOutside() throws {
    for dtype in DType.allCases where dtype != .bool {
      let x = try Tensor([-5, -1, 0, 2, 7]).cast(to: dtype)
      #expect(try x.clamped(to: -1...2).elements(as: Double.self) == [-1, -1, 0, 2, 2])
      #expect(try x.clamped(to: 0...).elements(as: Double.self) == [0, 0, 0, 2, 7])
      #expect(try x.clamped(to: ...0).elements(as: Double.self) == [-5, -1, 0, 0, 0])
    }
    #expect(try Tensor([Double.nan]).clamped(to: 0...1).item().isNaN)
    let x = try Tensor([-5, -1, 0, 2, 7]).tracked()
    let gradient = try x.clamped(to: -1...2).sum().gradients(of: [x])[0]
    #expect(try gradient.elements(as: Double.self) == [0, 1, 1, 1, 0])
    #expect(
      throws: TensorError.invalidArgument(
        "limit", was: "0.5", mustBe: "whole, as the tensor is int32")
    ) { try Tensor.range(3).clamped(to: 0.5...) }
  }

  @Test func cumulativeSumsAreThoseOfALoop() throws {
    let x = try normal([3, 70, 2], 1)
    for axis in [0, 1, -1] {
      for reversed in [false, true] {
        let whole = x.shape[axis < 0 ? axis + 3 : axis]
        let expected = try Tensor.stacked(
          (0..<whole).map { place in
            let range = reversed ? place..<whole : 0..<place + 1
            return try x.sliced(axis, range).sum([axis])
          }, axis)
        try inEveryType(x.elements()) { flat, tolerance in
          let sums = try flat.reshaped(x.shape).cumulativeSum(axis, reversed: reversed)
          try expectClose(sums, expected, within: 3 * tolerance, "\(flat.dtype) axis \(axis)")
        }
        try expectDerivatives(of: [normal([2, 3, 4], 2)], "axis \(axis)") {
          try $0[0].squared().cumulativeSum(axis, reversed: reversed)
        }
      }
    }
    let integers = try Tensor([Int32.max, 1, 2]).cumulativeSum(0)
    #expect(try integers.elements(as: Int32.self) == [.max, .min, .min + 2])
    #expect(
      try Tensor([1, 2, 3] as [Int64]).cumulativeSum(0, reversed: true).elements(as: Int64.self)
        == [6, 5, 3])
    #expect(try Tensor.zeros([3, 0]).cumulativeSum(1).shape == [3, 0])
    // Accurate where one rounding after another would accumulate.
    let many = try Tensor.full([1 << 20], 0.1).cumulativeSum(0)[-1].item()
    #expect(abs(many / (0.1 * 0x1p20) - 1) < 1e-7)
    #expect(throws: TensorError.self) { try Tensor([true]).cumulativeSum(0) }
    #expect(throws: TensorError.self) { try x.cumulativeSum(3) }
  }

  @Test func theLargestElementsAreFound() throws {
    let numbers: [Double] = [3, 9, -1, 9, 2, 5, 5, .nan, -.infinity, .nan]
    let rows = try Tensor(numbers, [2, 5])
    for dtype in DType.allCases where dtype.isFloatingPoint {
      let x = try rows.cast(to: dtype)
      #expect(try x.argmax(-1).elements(as: Int32.self) == [1, 2])
      #expect(try x.argmax(0).elements(as: Int32.self) == [1, 0, 1, 0, 1])
      let top = try x.topK(3)
      #expect(top.values.dtype == dtype)
      #expect(try top.indices.elements(as: Int32.self) == [1, 3, 0, 2, 4, 0])
      #expect(try top.values[0].elements(as: Double.self) == [9, 9, 3])
    }
    #expect(try Tensor([Int64.max - 1, Int64.max]).argmax(0).elements(as: Int32.self) == [1])
    #expect(try Tensor([false, true, true]).argmax(0).elements(as: Int32.self) == [1])
    #expect(try rows.topK(0).values.shape == [2, 0])
    // Few are inserted, many are sorted.
    let long = try normal([2, 300], 5)
    let all = try long.topK(300)
    for count in [1, 2, 64, 65, 299] {
      let some = try long.topK(count)
      #expect(try some.indices.elements(as: Int32.self) == all.indices[.all, ..<count].elements())
    }
    let sorted = try long[1].elements(as: Double.self).sorted(by: >)
    #expect(try all.values[1].elements(as: Double.self) == sorted)
    #expect(try long.argmax(1).elements(as: Int32.self) == all.indices[.all, 0].elements())
    try expectDerivatives(of: [normal([3, 6], 1)]) { try $0[0].squared().topK(2).values.squared() }
    #expect(throws: TensorError.self) { try rows.topK(6) }
    #expect(throws: TensorError.self) { try rows.topK(-1) }
    #expect(throws: TensorError.self) { try Tensor.zeros([0]).argmax(0) }
    #expect(throws: TensorError.self) { try Tensor.zeros([]).argmax(0) }
  }

  @Test func stackingMakesAnAxis() throws {
    let (a, b) = (try Tensor([1, 2] as [Int32]), try Tensor([3, 4] as [Int32]))
    #expect(try Tensor.stacked([a, b]).elements(as: Int32.self) == [1, 2, 3, 4])
    #expect(try Tensor.stacked([a, b], -1).elements(as: Int32.self) == [1, 3, 2, 4])
    try expectDerivatives(of: [normal([2, 3], 1), normal([2, 3], 2)]) {
      try .stacked([$0[0] * $0[1], $0[0]], 1)
    }
    #expect(
      throws: TensorError.invalidArgument(
        "tensors[1]", was: "Tensor(int32 [1])", mustBe: "like Tensor(int32 [2])")
    ) { try Tensor.stacked([a, Tensor([3] as [Int32])]) }
    #expect(throws: TensorError.self) { try Tensor.stacked([]) }
    #expect(throws: TensorError.self) { try Tensor.stacked([a], 3) }
  }

  @Test func layerNormCentresAndScalesRows() throws {
    let (x, weight, bias) = (try normal([4, 9], 1), try normal([9], 2), try normal([9], 3))
    let expected = try (0..<4).flatMap { row in
      let values = try x[row].elements(as: Double.self)
      let mean = values.reduce(0, +) / 9
      let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 9
      return try (0..<9).map {
        try (values[$0] - mean) / (variance + 1e-3).squareRoot() * weight[$0].item()
          + bias[$0].item()
      }
    }
    for (dtype, tolerance) in [
      (.float64, 1e-13), (.float32, 1e-5), (.float16, 2e-3), (.bfloat16, 1e-2),
    ] as [(DType, Double)] {
      let result = try x.cast(to: dtype).layerNorm(
        weight: weight.cast(to: dtype), bias: bias.cast(to: dtype), epsilon: 1e-3)
      #expect(result.dtype == dtype)
      try expectClose(result, Tensor(expected, [4, 9]), within: tolerance, "\(dtype)")
    }
    let plain = try x.layerNorm()
    #expect(try plain.sum([-1]).elements(as: Double.self).allSatisfy { abs($0) < 1e-13 })
    try expectDerivatives(of: [normal([2, 4], 1), normal([4], 2), normal([4], 3)]) {
      try $0[0].layerNorm(weight: $0[1], bias: $0[2], epsilon: 1e-3)
    }
    #expect(throws: TensorError.self) { try x.layerNorm(weight: .ones([8], dtype: .float64)) }
    #expect(throws: TensorError.self) { try x.layerNorm(bias: .ones([9])) }
    #expect(throws: TensorError.self) { try x.layerNorm(epsilon: 0) }
  }

  @Test func dropoutKeepsTheExpectedValue() throws {
    var generator = Philox(seed: 3)
    let x = try Tensor.ones([100_000], dtype: .float64).tracked()
    let y = try x.dropout(0.25, using: &generator)
    #expect(generator.position == 100_000)
    let values = try y.elements(as: Double.self)
    #expect(Set(values) == [0, 1 / 0.75])
    // Four standard deviations of the mean of that many.
    #expect(try abs(y.mean().item() - 1) < 4 * (0.25 / 0.75 / 1e5).squareRoot())
    #expect(try y.sum().gradients(of: [x])[0].elements(as: Double.self) == values)
    // The same elements again, in another type too; others after the stream has advanced.
    var again = Philox(seed: 3)
    let half = try x.detached().cast(to: .bfloat16).dropout(0.25, using: &again)
    #expect(
      try half.isGreater(than: .zeros([], dtype: .bfloat16)).elements(as: Bool.self)
        == values.map { $0 > 0 })
    let next = try x.dropout(0.25, using: &generator).elements(as: Double.self)
    #expect(next != values)
    #expect(try x.dropout(0, using: &generator).elements(as: Double.self).allSatisfy { $0 == 1 })
    #expect(try x.dropout(1, using: &generator).elements(as: Double.self).allSatisfy { $0 == 0 })
    #expect(generator.position == 400_000)
    for wrong in [-0.1, 1.1, .nan] {
      #expect(throws: TensorError.self) { try x.dropout(wrong, using: &generator) }
    }
    #expect(throws: TensorError.self) { try Tensor.range(3).dropout(0.5, using: &generator) }
  }

  @Test func rowsWithoutElementsTakeNoTime() throws {
    let x = try Tensor.zeros([1 << 40, 0])
    #expect(try x.layerNorm().shape == x.shape)
    #expect(try x.topK(0).indices.shape == x.shape)
    #expect(try x.cumulativeSum(0).shape == x.shape)
    #expect(try x.gelu().shape == x.shape)
    #expect("\(x)" == "Tensor(float32 [1099511627776, 0] on cpu)\n[]")
  }

  @Test(.onGPU) func whatAGPUDoesNotDoIsAnError() throws {
    let x = try Tensor.ones([3]).moved(to: GPU.device)
    #expect(throws: TensorError.self) { try x.topK(1) }
  }
}
