import TestSupport
import Testing

@testable import AttentionTensors

@Suite struct MatmulTests {
  /// Memory layouts of a [m, k] operand.
  enum Layout: CaseIterable { case rows, columns, slice, reversedBatch, broadcast }

  /// The tensor `x`, [batch, m, k], with other strides.
  private func laid(_ x: Tensor, _ layout: Layout) throws -> Tensor {
    switch layout {
    case .rows: return x
    case .columns: return try x.transposed().contiguous().transposed()
    case .slice:
      // Rows and columns of a larger matrix, every stride larger than needed.
      let wide = try Tensor.concatenated([x, x, x], 2).sliced(2, x.shape[2]..<2 * x.shape[2])
      return try Tensor.concatenated([wide, wide], 1).sliced(1, x.shape[1]..<2 * x.shape[1])
    case .reversedBatch: return try x.transposed(0, 1).contiguous().transposed(0, 1)
    case .broadcast: return try x.sliced(0, 0..<1).expanded(to: x.shape)
    }
  }

  /// The definition, element by element.
  private func plainProduct(_ a: Tensor, _ b: Tensor) throws -> Tensor {
    let (x, y) = (try a.elements(as: Double.self), try b.elements(as: Double.self))
    let (batch, m, k, n) = (a.shape[0], a.shape[1], a.shape[2], b.shape[2])
    var result = [Double](repeating: 0, count: batch * m * n)
    for matrix in 0..<batch {
      for i in 0..<m {
        for j in 0..<n {
          var total = 0.0
          for p in 0..<k { total += x[(matrix * m + i) * k + p] * y[(matrix * k + p) * n + j] }
          result[(matrix * m + i) * n + j] = total
        }
      }
    }
    return try Tensor(result, [batch, m, n])
  }

  static let sizes: [[Int]] = [
    [1, 1, 1], [1, 17, 5], [2, 3, 33], [3, 31, 1], [4, 1, 65], [5, 7, 9], [8, 16, 32], [9, 33, 17],
    [13, 5, 40], [17, 2, 31],
  ]

  /// One matrix for many rows, with empty rows or products.
  @Test func emptyRowsHaveGradients() throws {
    for (first, second) in [([2, 3, 0], [0, 4]), ([2, 3, 5], [5, 0]), ([0, 3, 5], [5, 4])] {
      try expectGradients(
        of: [normal(Shape(first), 1), normal(Shape(second), 2)], "\(first) × \(second)"
      ) { try $0[0].matmul($0[1]) }
    }
  }

  @Test(arguments: Layout.allCases, Layout.allCases)
  func everyStrideSizeAndInstructionSet(_ left: Layout, _ right: Layout) throws {
    for (index, size) in Self.sizes.enumerated() {
      let a = try laid(normal([2, size[0], size[1]], UInt64(index)), left)
      let b = try laid(normal([2, size[1], size[2]], UInt64(index) + 50), right)
      let label = "\(size) \(left) × \(right)"
      let expected = try plainProduct(a, b)
      try expectClose(a.matmul(b), expected, within: 1e-14, label)
      // The layout survives the cast: it is applied to float32 numbers.
      let (x, y) = (
        try laid(normal([2, size[0], size[1]], UInt64(index), dtype: .float32), left),
        try laid(normal([2, size[1], size[2]], UInt64(index) + 50, dtype: .float32), right)
      )
      for set in InstructionSet.supported {
        let product = try InstructionSet.withCurrent(set) { try x.matmul(y) }
        // Operands and products are rounded to float32: √k of them together stay below 1e-6.
        try expectClose(product, expected, within: 1e-6, "\(label) \(set)")
      }
    }
  }

  @Test func longDepthsAndManyPanels() throws {
    // Several pieces of the depth, blocks of rows and blocks of panels, none of them full.
    let a = try normal([1, 70, 600], 1)
    let b = try normal([1, 600, 150], 2)
    let expected = try a.matmul(b)
    let (x, y) = (try a.cast(to: .float32), try b.cast(to: .float32))
    for set in InstructionSet.supported {
      try InstructionSet.withCurrent(set) {
        let one = try withThreads(1) { try x.matmul(y) }
        try expectClose(one, expected, within: 1e-6, "\(set)")
        let several = try withThreads(3) { try x.matmul(y) }
        try expectClose(several, one, within: 0, "\(set) with 3 threads")
      }
    }
    try expectClose(plainProduct(a.sliced(1, 0..<2), b), expected.sliced(1, 0..<2), within: 1e-13)
  }

  @Test func leadingAxesBroadcastWithGradients() throws {
    for (first, second) in [
      ([2, 3], [3, 4]), ([5, 2, 3], [3, 4]), ([2, 3], [5, 3, 4]), ([2, 1, 2, 3], [3, 3, 2]),
      ([1, 2, 3], [4, 3, 1]), ([2, 2, 1, 3], [3, 2]), ([0, 3], [3, 2]), ([2, 0], [0, 3]),
      ([2, 3], [3, 0]), ([0, 2, 3], [3, 4]),
    ] as [(Shape, Shape)] {
      let (a, b) = (try normal(first, 1), try normal(second, 2))
      let leading = try Shape.broadcasting(Shape(first.dropLast(2)), Shape(second.dropLast(2)))
      let output = try a.matmul(b)
      let (m, k, n) = (first[first.rank - 2], first[first.rank - 1], second[second.rank - 1])
      #expect(output.shape == Shape(leading.dimensions + [m, n]), "\(first) × \(second)")
      let batch = leading.elementCount
      if output.elementCount > 0 {
        let left = try a.expanded(to: Shape(leading.dimensions + [m, k])).reshaped([batch, m, k])
        let right = try b.expanded(to: Shape(leading.dimensions + [k, n])).reshaped([batch, k, n])
        try expectClose(
          output.reshaped([batch, m, n]), plainProduct(left, right), within: 1e-14,
          "\(first) × \(second)")
      }
      try expectGradients(of: [a, b], "\(first) × \(second)") { try $0[0].matmul($0[1]) }
    }
  }

  @Test func gradientsFlowThroughViewsOnlyWhereAsked() throws {
    let (a, b) = (try normal([4, 3], 1), try normal([4, 2], 2))
    try expectGradients(of: [a, b]) { try $0[0].transposed().matmul($0[1]) }
    try expectGradients(of: [a]) { try $0[0].transposed().matmul(b) }
    try expectGradients(of: [b]) { try a.transposed().matmul($0[0]) }
  }

  @Test(arguments: [DType.float16, .bfloat16])
  func halfPrecisionSumsInFloat32(_ dtype: DType) throws {
    // 4,096 ones: a sum in bfloat16 would stop at 256, one in float16 at 2,048.
    let ones = try Tensor.ones([5, 4096], dtype: dtype)
    let product = try ones.matmul(ones.transposed())
    #expect(product.dtype == dtype)
    #expect(try product.elements(as: Float.self).allSatisfy { $0 == 4096 })
  }

  @Test func notANumberStaysInItsRow() throws {
    var values = [Float](repeating: 1, count: 30)
    values[7] = .nan
    for set in InstructionSet.supported {
      try InstructionSet.withCurrent(set) {
        let product = try Tensor(values, [6, 5]).matmul(.ones([5, 3])).elements(as: Float.self)
        for (index, value) in product.enumerated() {
          #expect(value.isNaN == (index / 3 == 1), "\(set) element \(index)")
        }
      }
    }
  }

  @Test func wrongOperandsAreErrors() throws {
    let x = try Tensor.ones([2, 3])
    #expect(throws: TensorError.self) { try x.matmul(x) }
    #expect(throws: TensorError.self) { try x.matmul(.ones([3])) }
    #expect(throws: TensorError.self) { try x.matmul(.ones([3, 2], dtype: .float64)) }
    #expect(throws: TensorError.self) {
      try Tensor.range(1).unsqueezed(0).matmul(Tensor.range(1).unsqueezed(0))
    }
    #expect(throws: TensorError.self) { try Tensor.ones([2, 2, 3]).matmul(.ones([3, 3, 2])) }
  }
}
