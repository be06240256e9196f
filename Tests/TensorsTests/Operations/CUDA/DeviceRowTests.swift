import TestSupport
import Testing

@testable import AttentionTensors

/// Row operations on a GPU and their gradients, compared with the float64 definitions.
@Suite(.onGPU) struct DeviceRowTests {
  typealias Row = FusedRowTests.Row

  static let rows =
    FusedRowTests.rows + [
      Row(name: "l2Normalized", inputs: { [try normal($0, 7)] }) {
        try $0[0].l2Normalized(epsilon: 0.1)
      },
      Row(name: "logSigmoid", inputs: { [try normal($0, 8, deviation: 8)] }) {
        try $0[0].logSigmoid(dividedBy: 16)
      },
      Row(
        name: "linearCrossEntropy",
        inputs: { [try normal([$0[0], 24], 9), try normal([$0[1], 24], 10, deviation: 0.5)] }
      ) {
        try $0[0].linearCrossEntropy(
          weight: $0[1],
          targets: targets(rows: $0[0].shape[0], below: $0[1].shape[0]))
      },
    ]

  /// Every sixth row is ignored.
  static func targets(rows: Int, below classes: Int) throws -> Tensor {
    try Tensor((0..<rows).map { $0 % 6 == 5 ? Int32(-1) : Int32($0 * 7 % classes) })
  }

  /// Rows of a warp and of a block, whole groups of four and not, more rows than blocks of the weight's
  /// gradient.
  static let shapes: [Shape] = [
    [1, 1], [3, 5], [2, 16], [5, 33], [67, 130], [2, 1028], [3, 1031], [1500, 8], [0, 4],
  ]

  /// The bounds for every kernel; gradients in float32 may have ten times the error.
  private func bound(_ dtype: DType, isGradient: Bool) -> Double {
    switch dtype {
    case .float16: 2e-3
    case .bfloat16: 1e-2
    default: isGradient ? 1e-4 : 1e-5
    }
  }

  @Test(arguments: rows, [DType.float32, .bfloat16, .float16])
  func agreeWithTheDefinition(_ row: Row, _ dtype: DType) throws {
    for shape in Self.shapes {
      let inputs = try row.inputs(shape).map { try $0.cast(to: dtype) }
      let wide = try inputs.map { try $0.cast(to: .float64).tracked() }
      let reference = try row.function(wide)
      let onDevice = try inputs.map { try $0.moved(to: GPU.device).tracked() }
      let output = try row.function(onDevice)
      #expect(output.device == GPU.device)
      let seed = try normal(reference.shape, 9).cast(to: output.dtype)
      let expected =
        try [reference] + reference.gradients(of: wide, seed: seed.cast(to: .float64))
      let actual =
        try [output]
        + output.gradients(of: onDevice, seed: seed.moved(to: GPU.device))
      for (index, pair) in zip(actual, expected).enumerated() {
        #expect(index == 0 || pair.0.dtype == dtype)
        try expectClose(
          pair.0, pair.1, within: bound(dtype, isGradient: index > 0),
          "\(row.name) \(shape) \(dtype) result \(index)")
      }
    }
  }

  @Test(arguments: rows)
  func viewsAreRead(_ row: Row) throws {
    let inputs = try row.inputs([6, 9]).map { try $0.cast(to: .float32) }
    let expected = try row.function(inputs)
    // The same numbers as every second element of a wider row, from the second on.
    let views = try inputs.map { input in
      let spread = try Tensor.concatenated([input.unsqueezed(-1), input.unsqueezed(-1)], -1)
      return try spread.moved(to: GPU.device).selected(-1, 1)
    }
    try expectClose(row.function(views), expected, within: 1e-5, row.name)
  }

  @Test func extremeRows() throws {
    let infinity = Float.infinity
    func softmax(_ values: [Float]) throws -> [Float] {
      try Tensor(values).moved(to: GPU.device).softmax().elements()
    }
    #expect(try softmax([-infinity, -infinity, -infinity]) == [0, 0, 0])
    #expect(try softmax([-infinity, 5]) == [0, 1])
    #expect(try softmax([1e38, 1e38]) == [0.5, 0.5])
    for place in 0..<70 {
      var values = [Float](repeating: -infinity, count: 70)
      values[place] = .nan
      #expect(try softmax(values).allSatisfy(\.isNaN), "NaN at \(place)")
    }
    func loss(_ values: [Float], _ target: Int32, targetOnDevice: Bool = false) throws -> Float {
      let target = try Tensor([target]).moved(to: targetOnDevice ? GPU.device : .cpu)
      return try Tensor(values, [1, values.count]).moved(to: GPU.device)
        .crossEntropy(target).elements(as: Float.self)[0]
    }
    #expect(try loss([1e4, -1e4], 0) == 0)
    #expect(try loss([1e4, -1e4], 1) == 2e4)
    #expect(try loss([0, -infinity], 1) == infinity)
    #expect(try loss([0, .nan, 1], 0).isNaN)
    // Targets on the CPU are checked; on a GPU invalid ones make the loss NaN.
    #expect(throws: TensorError.self) { try loss([1, 2], 2) }
    for target in [2, -1] as [Int32] {
      #expect(try loss([1, 2], target, targetOnDevice: true).isNaN)
    }
  }

  @Test func targetsOfTheDeviceAreCountedThere() throws {
    let operands = [try normal([11, 5], 1), try normal([3, 5], 2)]
    let targets = try Tensor((0..<11).map { Int32($0 % 4 - 1) })
    let expected = try operands[0].linearCrossEntropy(weight: operands[1], targets: targets)
    let moved = try operands.map { try $0.cast(to: .float32).moved(to: GPU.device) }
    let device = try targets.moved(to: GPU.device)
    try expectClose(
      moved[0].linearCrossEntropy(weight: moved[1], targets: device), expected, within: 1e-5)
    let none = try Tensor.full([11], -1, dtype: .int32).contiguous().moved(to: GPU.device)
    #expect(try moved[0].linearCrossEntropy(weight: moved[1], targets: none).item() == 0)
  }

  @Test func operandsOnDifferentDevicesAreRefused() throws {
    let x = try Tensor.ones([2, 3]).contiguous().moved(to: GPU.device)
    #expect(throws: TensorError.self) { try x.rmsNorm(weight: .ones([3])) }
    #expect(throws: TensorError.self) { try Tensor.swiglu(x, .ones([2, 3])) }
    #expect(throws: TensorError.self) {
      try x.linearCrossEntropy(weight: .ones([4, 3]), targets: Tensor([0, 1] as [Int32]))
    }
  }
}
