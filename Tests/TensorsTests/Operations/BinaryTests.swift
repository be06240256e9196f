import TestSupport
import Testing

@testable import AttentionTensors

@Suite struct BinaryTests {
  struct Function: Sendable, CustomTestStringConvertible {
    let name: String
    let apply: @Sendable (Tensor, Tensor) throws -> Tensor
    let plain: @Sendable (Double, Double) -> Double
    var testDescription: String { name }
  }

  static let functions = [
    Function(name: "+", apply: { try $0 + $1 }, plain: { $0 + $1 }),
    Function(name: "-", apply: { try $0 - $1 }, plain: { $0 - $1 }),
    Function(name: "*", apply: { try $0 * $1 }, plain: { $0 * $1 }),
    Function(name: "/", apply: { try $0 / $1 }, plain: { $0 / $1 }),
    Function(
      name: "maximum", apply: { try $0.maximum($1) },
      plain: { $0.isNaN || $1.isNaN ? .nan : max($0, $1) }),
    Function(
      name: "minimum", apply: { try $0.minimum($1) },
      plain: { $0.isNaN || $1.isNaN ? .nan : min($0, $1) }),
  ]

  static let shapes: [(Shape, Shape)] = [
    ([], []), ([3], []), ([], [2, 3]), ([2, 3], [3]), ([2, 3], [2, 1]), ([2, 1], [1, 3]),
    ([4, 1, 3], [2, 1]), ([1], [1, 1]), ([0, 3], [3]), ([2, 1, 0], [5, 1]),
  ]

  @Test(arguments: functions)
  func broadcastsWithGradients(_ function: Function) throws {
    for (index, (first, second)) in Self.shapes.enumerated() {
      // Divisors far from 0, and pairs that differ.
      let a = try normal(first, UInt64(index)) + 10
      let b = try normal(second, UInt64(index) + 100).absolute() * 7 + 0.5
      let label = "\(first) \(function.name) \(second)"
      let shape = try Shape.broadcasting(first, second)
      let output = try function.apply(a, b)
      #expect(output.shape == shape, "\(label)")
      let x = try a.expanded(to: shape).elements(as: Double.self)
      let y = try b.expanded(to: shape).elements(as: Double.self)
      #expect(try output.elements(as: Double.self) == zip(x, y).map(function.plain), "\(label)")
      try expectGradients(of: [a, b], label) { try function.apply($0[0], $0[1]) }
    }
  }

  @Test(arguments: functions)
  func everyPairOfNastyNumbers(_ function: Function) throws {
    let nasty: [Float] = [
      0, -0.0, 1, -1, .infinity, -.infinity, .nan, .leastNonzeroMagnitude, -.leastNormalMagnitude,
      .greatestFiniteMagnitude, -.greatestFiniteMagnitude, 1 + .ulpOfOne,
    ]
    let count = nasty.count
    let a = try Tensor(nasty, [count, 1])
    let b = try Tensor(nasty, [1, count])
    for set in InstructionSet.supported {
      let values = try InstructionSet.withCurrent(set) {
        try function.apply(a, b).elements(as: Float.self)
      }
      for (i, u) in nasty.enumerated() {
        for (j, v) in nasty.enumerated() {
          // Computed in float64 and rounded: exact for these operations on float32.
          let expected = Float(function.plain(Double(u), Double(v)))
          let actual = values[i * count + j]
          let isRight = actual == expected || (actual.isNaN && expected.isNaN)
          #expect(isRight, "\(u) \(function.name) \(v) is \(actual) with \(set)")
        }
      }
    }
  }

  @Test(arguments: functions)
  func stridedOperandsAreReadInPlace(_ function: Function) throws {
    let a = try normal([5, 7], 1) + 3
    let b = try normal([7, 5], 2)
    for dtype in [DType.float32, .float64, .bfloat16, .float16, .int32, .int64] {
      let (x, y) = (try a.cast(to: dtype), try b.cast(to: dtype))
      for set in InstructionSet.supported {
        try InstructionSet.withCurrent(set) {
          let views = try function.apply(x.transposed().sliced(0, 1..<6), y.sliced(0, 2..<7))
          let copies = try function.apply(
            x.transposed().sliced(0, 1..<6).contiguous(), y.sliced(0, 2..<7).contiguous())
          #expect(views.dtype == dtype)
          let isSame =
            try views.elements(as: Double.self).description
            == copies.elements(as: Double.self).description
          #expect(isSame, "\(function.name) \(dtype) \(set)")
        }
      }
    }
  }

  @Test func integersNeverTrap() throws {
    let a = try Tensor([Int32.min, Int32.max, 7, -7, Int32.min, 0])
    let b = try Tensor([-1, 1, 0, 2, 0, 0] as [Int32])
    #expect(try (a / b).elements(as: Int32.self) == [.min, .max, 0, -3, 0, 0])
    #expect(try (a + b).elements(as: Int32.self)[0...1] == [.max, .min])
    #expect(try (a - b).elements(as: Int32.self)[0...1] == [.min + 1, .max - 1])
    #expect(try (a * b).elements(as: Int32.self)[0...1] == [.min, .max])
    let wide = try Tensor([Int64.min, Int64.max]) / Tensor([-1, 2] as [Int64])
    #expect(try wide.elements(as: Int64.self) == [.min, .max / 2])
  }

  @Test func numbersCombineWithTensors() throws {
    let x = try Tensor([1, 2] as [Double])
    try expectGradients(of: [x]) { try (($0[0] + 3) * 2 - 1) / 4 }
    #expect(try (((x + 3) * 2 - 1) / 4).elements(as: Double.self) == [1.75, 2.25])
    // Rounded to bfloat16, 0.1 would be 0.1001 and the product 103.5.
    let half = try Tensor.full([1], 1032, dtype: .bfloat16) * 0.1
    #expect(half.dtype == .bfloat16)
    #expect(try half.item() == 103)
    #expect(try (Tensor.range(3) * 2).elements(as: Int32.self) == [0, 2, 4])
    #expect(throws: TensorError.self) { try Tensor.range(3) * 2.5 }
  }

  @Test func equalPairsGiveTheirGradientToTheFirst() throws {
    let a = try Tensor.ones([2]).tracked()
    let b = try Tensor.ones([2]).tracked()
    for output in [try a.maximum(b), try a.minimum(b)] {
      let gradients = try output.sum().gradients(of: [a, b])
      #expect(try gradients[0].elements(as: Float.self) == [1, 1])
      #expect(try gradients[1].elements(as: Float.self) == [0, 0])
    }
  }

  @Test func wrongOperandsAreErrors() throws {
    let x = try Tensor.ones([2, 3])
    #expect(throws: TensorError.self) { try x + Tensor.ones([2]) }
    #expect(throws: TensorError.self) { try x + Tensor.ones([2, 3], dtype: .float64) }
    #expect(throws: TensorError.self) { try Tensor([true]) + Tensor([true]) }
  }
}
