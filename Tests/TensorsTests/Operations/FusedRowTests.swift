import TestSupport
import Testing

@testable import AttentionTensors

/// The fused float32 rows compared with their float64 definitions, and those with finite differences.
@Suite struct FusedRowTests {
  struct Row: Sendable, CustomTestStringConvertible {
    let name: String
    /// Makes the inputs for a shape of the rows.
    let inputs: @Sendable (Shape) throws -> [Tensor]
    let function: @Sendable ([Tensor]) throws -> Tensor
    var testDescription: String { name }
  }

  /// A target for each row, the first and the last class among them.
  static func targets(_ x: Tensor) throws -> Tensor {
    try Tensor((0..<x.shape[0]).map { Int32(($0 * 7 + x.shape[1] - 1) % x.shape[1]) })
  }

  static let rows: [Row] = [
    Row(name: "softmax", inputs: { [try normal($0, 1, deviation: 3)] }) { try $0[0].softmax() },
    Row(name: "crossEntropy", inputs: { [try normal($0, 2, deviation: 3)] }) {
      try $0[0].crossEntropy(targets($0[0]))
    },
    Row(
      name: "rmsNorm", inputs: { [try normal($0, 3), try normal([$0[1]], 4)] },
      function: { try $0[0].rmsNorm(weight: $0[1], epsilon: 1e-3) }),
    Row(
      name: "swiglu", inputs: { [try normal($0, 5, deviation: 3), try normal($0, 6)] },
      function: { try .swiglu($0[0], $0[1]) }),
  ]

  @Test(arguments: rows)
  func definitionsHaveTheGradientsOfDifferences(_ row: Row) throws {
    try expectGradients(of: row.inputs([3, 5]), row.name, row.function)
  }

  @Test(arguments: rows)
  func fusedRowsComputeTheDefinition(_ row: Row) throws {
    for shape in [[1, 1], [3, 5], [2, 16], [5, 33], [67, 130], [1, 20_000], [0, 4]] as [Shape] {
      let inputs = try row.inputs(shape).map { try $0.cast(to: .float32) }
      let wide = try inputs.map { try $0.cast(to: .float64).tracked() }
      let reference = try row.function(wide)
      let seed = try normal(reference.shape, 9)
      let expected = try [reference] + reference.gradients(of: wide, seed: seed)
      for set in InstructionSet.supported {
        try InstructionSet.withCurrent(set) { () throws in
          let tracked = inputs.map { $0.tracked() }
          let output = try row.function(tracked)
          let actual =
            try [output] + output.gradients(of: tracked, seed: seed.cast(to: .float32))
          for (index, pair) in zip(actual, expected).enumerated() {
            // The bounds for every float32 kernel: 1e-5, gradients 1e-4.
            try expectClose(
              pair.0, pair.1, within: index == 0 ? 1e-5 : 1e-4,
              "\(row.name) \(shape) \(set) result \(index)")
          }
        }
      }
    }
  }

  @Test(arguments: rows, [DType.bfloat16, .float16])
  func halfPrecisionIsComputedInFloat32(_ row: Row, _ dtype: DType) throws {
    let inputs = try row.inputs([5, 33]).map { try $0.cast(to: dtype) }
    let wide = try row.function(inputs.map { try $0.cast(to: .float32) })
    let half = inputs.map { $0.tracked() }
    let output = try row.function(half)
    #expect(output.dtype == (row.name == "crossEntropy" ? .float32 : dtype))
    #expect(
      try output.elements(as: Float.self) == wide.cast(to: output.dtype).elements(as: Float.self))
    for (gradient, input) in zip(try output.sum().gradients(of: half), inputs) {
      #expect(gradient.dtype == dtype)
      #expect(gradient.shape == input.shape)
    }
  }

  @Test(arguments: rows)
  func threadsDoNotChangeABit(_ row: Row) throws {
    let inputs = try row.inputs([300, 200]).map { try $0.cast(to: .float32).tracked() }
    func run() throws -> [[Float]] {
      let output = try row.function(inputs)
      return try ([output] + output.gradients(of: inputs, seed: .ones(output.shape)))
        .map { try $0.elements(as: Float.self) }
    }
    let expected = try withThreads(1, run)
    for count in [2, 7] {
      let isSame = try withThreads(count, run) == expected
      #expect(isSame, "\(count) threads")
    }
  }

  @Test func viewsAndBroadcastGradientsAreRead() throws {
    let x = try normal([6, 4], 1, dtype: .float32).tracked()
    let weight = try normal([4], 2, dtype: .float32)
    for (name, function) in [
      ("softmax", { try $0.softmax() }), ("rmsNorm", { try $0.rmsNorm(weight: weight) }),
      ("swiglu", { try .swiglu($0, $0) }),
    ] as [(String, (Tensor) throws -> Tensor)] {
      let view = try function(x.transposed().sliced(1, 1..<5))
      let copy = try function(x.transposed().sliced(1, 1..<5).contiguous())
      try expectClose(view, copy, within: 0, name)
      try expectClose(
        view.sum().gradients(of: [x])[0], copy.sum().gradients(of: [x])[0], within: 0, name)
    }
  }

  @Test(arguments: InstructionSet.supported, [DType.float32, .float64])
  func softmaxOfExtremeRows(_ set: InstructionSet, _ dtype: DType) throws {
    try InstructionSet.withCurrent(set) { () throws in
      let infinity = Double.infinity
      func row(_ values: [Double]) throws -> [Double] {
        try Tensor(values).cast(to: dtype).softmax().elements(as: Double.self)
      }
      #expect(try row([-infinity, -infinity, -infinity]) == [0, 0, 0])
      #expect(try row([-infinity, 5]) == [0, 1])
      #expect(try row([1e38, 1e38]) == [0.5, 0.5])
      #expect(try row([-1e38, 0, -3e38]) == [0, 1, 0])
      #expect(try row([]) == [])
      for place in 0..<70 {
        var values = [Double](repeating: -infinity, count: 70)
        values[place] = .nan
        #expect(try row(values).allSatisfy(\.isNaN), "NaN at \(place)")
      }
      let empty = try Tensor([-infinity, -infinity]).cast(to: dtype).tracked()
      let gradient = try empty.softmax().gradients(of: [empty], seed: .ones([2], dtype: dtype))
      #expect(try gradient[0].elements(as: Double.self) == [0, 0])
    }
  }

  @Test(arguments: InstructionSet.supported)
  func crossEntropyOfExtremeRows(_ set: InstructionSet) throws {
    try InstructionSet.withCurrent(set) { () throws in
      let infinity = Float.infinity
      func loss(_ values: [Float], _ target: Int32) throws -> Float {
        try Tensor(values, [1, values.count]).crossEntropy(Tensor([target]))
          .elements(as: Float.self)[0]
      }
      #expect(try loss([1e4, -1e4], 0) == 0)
      #expect(try loss([1e4, -1e4], 1) == 2e4)
      #expect(try loss([0, -infinity], 1) == infinity)
      #expect(try loss([0, -infinity], 0) == 0)
      #expect(try loss([0, .nan, 1], 0).isNaN)
      #expect(try loss([3], 0) == 0)
    }
  }

  @Test func wrongArgumentsAreNamed() throws {
    let x = try Tensor.ones([2, 3])
    func message(_ body: () throws -> Tensor) -> String {
      do { return "\(try body())" } catch { return "\(error)" }
    }
    #expect(
      message { try x.crossEntropy(Tensor([0, 3] as [Int32])) }
        == "targets[1] is 3; it must be in 0..<3")
    #expect(
      message { try x.crossEntropy(Tensor([0, -1] as [Int32])) }
        == "targets[1] is -1; it must be in 0..<3")
    #expect(
      message { try x.crossEntropy(Tensor([0] as [Int32])) }
        == "targets is Tensor(int32 [1]); it must be int32 [2]")
    #expect(message { try x.crossEntropy(Tensor([0, 1] as [Int64])) }.hasPrefix("targets is"))
    #expect(message { try x.selected(0, 0).crossEntropy(x) }.hasPrefix("logits is"))
    #expect(message { try x.rmsNorm(weight: .ones([2])) }.hasPrefix("weight is"))
    #expect(message { try x.rmsNorm(weight: .ones([3], dtype: .float16)) }.hasPrefix("weight is"))
    #expect(message { try x.rmsNorm(weight: .ones([3]), epsilon: 0) }.hasPrefix("epsilon is"))
    #expect(message { try x.rmsNorm(weight: .ones([3]), epsilon: .nan) }.hasPrefix("epsilon is"))
    #expect(message { try .swiglu(x, .ones([3])) }.hasPrefix("operands of swiglu is"))
    #expect(message { try Tensor.ones([]).softmax() }.hasPrefix("operand of softmax is"))
    #expect(message { try x.cast(to: .int32).softmax() }.hasPrefix("operand of softmax is"))
  }
}
