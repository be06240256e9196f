import TestSupport
import Testing

@testable import AttentionTensors

@Suite struct ReductionTests {
  static let cases: [(shape: Shape, axes: [Int]?)] = [
    ([], nil), ([5], nil), ([5], []), ([2, 3, 4], nil), ([2, 3, 4], [0]), ([2, 3, 4], [1]),
    ([2, 3, 4], [-1]), ([2, 3, 4], [0, 2]), ([2, 3, 4], [1, 2]), ([2, 3, 4], [0, 1]),
    ([2, 1, 2, 3], [3, 0, 1]), ([3, 0], [1]), ([3, 0], [0]), ([0], nil),
  ]

  /// The sum by iterating over every element.
  private func plainSum(_ x: Tensor, _ axes: [Int]?, _ keepsAxes: Bool) throws -> Tensor {
    let reduced = Set((axes ?? Array(0..<x.rank)).map { $0 < 0 ? $0 + x.rank : $0 })
    let kept = Shape(x.shape.indices.map { reduced.contains($0) ? 1 : x.shape[$0] })
    var totals = [Double](repeating: 0, count: kept.elementCount)
    for (place, value) in try x.elements(as: Double.self).enumerated() {
      var (rest, target, size) = (place, 0, 1)
      for axis in x.shape.indices.reversed() {
        let index = rest % x.shape[axis]
        rest /= x.shape[axis]
        if !reduced.contains(axis) {
          target += index * size
          size *= x.shape[axis]
        }
      }
      totals[target] += value
    }
    let squeezed = Shape(x.shape.indices.filter { !reduced.contains($0) }.map { x.shape[$0] })
    return try Tensor(totals, keepsAxes ? kept : squeezed)
  }

  @Test(arguments: [false, true])
  func sumsOverAnyAxesWithGradients(_ keepsAxes: Bool) throws {
    for (shape, axes) in Self.cases {
      let x = try normal(shape, 5)
      let label = "\(shape) over \(String(describing: axes)), keepsAxes \(keepsAxes)"
      let expected = try plainSum(x, axes, keepsAxes)
      try expectClose(x.sum(axes, keepsAxes: keepsAxes), expected, within: 1e-14, label)
      for set in InstructionSet.supported {
        try InstructionSet.withCurrent(set) {
          let sum = try x.cast(to: .float32).sum(axes, keepsAxes: keepsAxes)
          try expectClose(sum, expected, within: 1e-6, "\(label) \(set)")
        }
      }
      try expectGradients(of: [x], label) { try $0[0].sum(axes, keepsAxes: keepsAxes) }
      try expectGradients(of: [x], label) { try $0[0].mean(axes, keepsAxes: keepsAxes) }
    }
  }

  @Test func viewsAreSummedInPlace() throws {
    let x = try normal([3, 4, 5], 6).transposed(0, 2).sliced(0, 1..<4)
    for axes in [[0], [1], [0, 2], [2]] {
      try expectClose(
        x.cast(to: .float32).sum(axes), plainSum(x, axes, false), within: 1e-6, "\(axes)")
    }
    let expanded = try Tensor.full([1000, 3], 2).sum([0])
    #expect(try expanded.elements(as: Float.self) == [2000, 2000, 2000])
  }

  /// Long sums of numbers that are all positive, where errors cannot cancel.
  @Test(arguments: [[3_000_000], [100_000, 3], [2, 70_000]] as [Shape])
  func longSumsAreAccurateOnAnyNumberOfThreads(_ shape: Shape) throws {
    var generator = Philox(seed: 3)
    // Multiples of 2⁻²⁰ below 2: their float64 sum is exact.
    let values = (0..<shape.elementCount).map { _ in
      Float(generator.next() >> 43) * 0x1p-20
    }
    let x = try Tensor(values, shape)
    let axis = shape.rank == 2 && shape[0] < shape[1] ? 1 : 0
    let expected = try x.cast(to: .float64).sum([axis])
    for set in InstructionSet.supported {
      try InstructionSet.withCurrent(set) {
        let one = try withThreads(1) { try x.sum([axis]) }
        try expectClose(one, expected, within: 2e-6, "\(shape) \(set)")
        for count in [2, 5] {
          let several = try withThreads(count) { try x.sum([axis]) }
          try expectClose(several, one, within: 0, "\(shape) \(set) \(count) threads")
        }
      }
    }
  }

  @Test func halfPrecisionMeansDoNotOverflow() throws {
    #expect(try Tensor.full([100_000], 3, dtype: .float16).mean().item() == 3)
    #expect(try Tensor.full([1000], 3, dtype: .bfloat16).sum().item() == 3008)
  }

  @Test func notANumberAndInfinityReachTheSum() throws {
    for place in [0, 40, 99] {
      var values = [Float](repeating: 1, count: 100)
      values[place] = .nan
      #expect(try Tensor(values).sum().item().isNaN)
      values[place] = -.infinity
      #expect(try Tensor(values).sum().item() == -.infinity)
    }
  }

  @Test func wrongAxesAndTypesAreErrors() throws {
    #expect(throws: TensorError.self) { try Tensor.ones([2]).sum([1]) }
    #expect(throws: TensorError.self) { try Tensor.ones([2]).sum([-2]) }
    #expect(throws: TensorError.self) { try Tensor.range(3).sum() }
  }
}
