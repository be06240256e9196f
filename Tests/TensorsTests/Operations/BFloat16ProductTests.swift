import Testing

@testable import AttentionTensors

/// Products of bfloat16 pairs compared with float64; operands are exact and the result is rounded once.
@Suite struct BFloat16ProductTests {
  struct Case: CustomStringConvertible, Sendable {
    var m: Int
    var k: Int
    var n: Int
    var batch = 1
    var transposesLeft = false
    var transposesRight = false
    var description: String {
      "\(batch) of \(m)×\(k)×\(n), transposed \(transposesLeft) \(transposesRight)"
    }
  }

  static let cases = [
    Case(m: 4, k: 1, n: 1), Case(m: 5, k: 3, n: 33), Case(m: 64, k: 64, n: 64),
    Case(m: 65, k: 513, n: 31), Case(m: 7, k: 1025, n: 530), Case(m: 9, k: 0, n: 4),
    Case(m: 70, k: 35, n: 66, batch: 3), Case(m: 20, k: 96, n: 40, transposesRight: true),
    Case(m: 20, k: 33, n: 40, transposesLeft: true, transposesRight: true),
    Case(m: 130, k: 17, n: 40, batch: 2, transposesLeft: true),
  ]

  @Test(arguments: cases) func agreesWithFloat64(_ item: Case) throws {
    var random = Philox(seed: UInt64.random(in: 0..<1000))
    func draw(_ rows: Int, _ columns: Int, transposed: Bool) throws -> Tensor {
      let shape: Shape = [item.batch, transposed ? columns : rows, transposed ? rows : columns]
      let tensor = try Tensor.normal(shape, using: &random, dtype: .bfloat16)
      return transposed ? try tensor.transposed() : tensor
    }
    let a = try draw(item.m, item.k, transposed: item.transposesLeft)
    let b = try draw(item.k, item.n, transposed: item.transposesRight)
    let exact = try a.cast(to: .float64).matmul(b.cast(to: .float64)).elements(as: Double.self)
    // Sums of k products in float32, then one rounding.
    let size = Double(item.k).squareRoot()
    for set in InstructionSet.supported {
      let result = try InstructionSet.withCurrent(set) { try a.matmul(b) }
      #expect(result.dtype == .bfloat16)
      for (index, (x, y)) in zip(try result.elements(as: Double.self), exact).enumerated() {
        #expect(
          abs(x - y) <= 0x1p-8 * abs(y) + 0x1p-20 * size, "\(item) \(set) [\(index)] \(x) \(y)")
      }
    }
  }
}
