import AttentionTensors
import Testing

/// An operation whose GPU result is compared with that of the CPU.
struct DeviceOperation: Sendable, CustomTestStringConvertible {
  let name: String
  var dtypes: [DType] = Self.floating
  /// The shapes of the operands, in several variants.
  var shapes: [[Shape]]
  /// The range that the operands' elements are drawn from.
  var range = (low: -2.0, high: 2.0)
  /// Whether it has gradients.
  var isDifferentiable = true
  let apply: @Sendable ([Tensor]) throws -> Tensor

  var testDescription: String { name }

  static let floating: [DType] = [.float32, .float64, .bfloat16, .float16]
  static let numbers: [DType] = floating + [.int32, .int64]

  /// The difference allowed between two computations with one rounding each, and what it accumulates to in a
  /// gradient of a few steps.
  static func tolerance(_ dtype: DType) -> Double {
    let roundings = 8.0
    return switch dtype {
    case .float32: roundings * 0x1p-23
    case .float64: roundings * 0x1p-52
    case .bfloat16: roundings * 0x1p-8
    case .float16: roundings * 0x1p-11
    case .int32, .int64, .bool: 0
    }
  }

  static let all: [DeviceOperation] = binary + unary + other

  private static let pairs: [[Shape]] = [
    [[], []], [[7], []], [[], [2, 3]], [[2, 3], [3]], [[2, 3], [2, 1]], [[5, 1], [1, 67]],
    [[4, 1, 3], [2, 1]], [[0, 3], [3]], [[3, 1000], [3, 1000]], [[2, 3, 4, 1], [3, 1, 5]],
  ]

  private static let binary = [
    DeviceOperation(name: "+", dtypes: numbers, shapes: pairs) { try $0[0] + $0[1] },
    DeviceOperation(name: "-", dtypes: numbers, shapes: pairs) { try $0[0] - $0[1] },
    DeviceOperation(name: "*", dtypes: numbers, shapes: pairs) { try $0[0] * $0[1] },
    DeviceOperation(name: "/", dtypes: numbers, shapes: pairs, range: (0.5, 9)) {
      try $0[0] / $0[1]
    },
    DeviceOperation(name: "maximum", dtypes: numbers, shapes: pairs) { try $0[0].maximum($0[1]) },
    DeviceOperation(name: "minimum", dtypes: numbers, shapes: pairs) { try $0[0].minimum($0[1]) },
    DeviceOperation(
      name: "isGreater", dtypes: DType.allCases, shapes: pairs, isDifferentiable: false
    ) { try $0[0].isGreater(than: $0[1]) },
    DeviceOperation(
      name: "isEqual", dtypes: DType.allCases, shapes: pairs, range: (0, 3),
      isDifferentiable: false
    ) { try $0[0].cast(to: .int32).cast(to: $0[0].dtype).isEqual(to: $0[1]) },
    DeviceOperation(name: "power", shapes: pairs, range: (0.5, 2)) { try $0[0].power($0[1]) },
    DeviceOperation(name: "+ number", dtypes: numbers, shapes: singles) { try $0[0] + 3 },
    DeviceOperation(name: "- number", dtypes: numbers, shapes: singles) { try $0[0] - 3 },
    DeviceOperation(name: "* number", shapes: singles) { try $0[0] * 0.3 },
    DeviceOperation(name: "/ number", dtypes: numbers, shapes: singles) { try $0[0] / 7 },
  ]

  private static let singles: [[Shape]] = [
    [[]], [[5]], [[3, 0]], [[3, 4, 5]], [[1025]], [[2, 515]],
  ]

  private static func function(
    _ name: String, _ range: (low: Double, high: Double) = (-4, 4),
    _ apply: @escaping @Sendable (Tensor) throws -> Tensor
  ) -> DeviceOperation {
    DeviceOperation(name: name, shapes: singles, range: range) { try apply($0[0]) }
  }

  private static let unary = [
    function("negate") { try -$0 }, function("absolute") { try $0.absolute() },
    function("squared") { try $0.squared() },
    function("squareRoot", (0.1, 9)) { try $0.squareRoot() },
    function("reciprocalSquareRoot", (0.1, 9)) { try $0.reciprocalSquareRoot() },
    function("reciprocal", (0.1, 9)) { try $0.reciprocal() },
    function("exponential") { try $0.exponential() },
    function("logarithm", (2, 9)) { try $0.logarithm() }, function("tanh") { try $0.tanh() },
    function("exponentialMinusOne", (0.1, 3)) { try $0.exponentialMinusOne() },
    function("logarithmOfOnePlus", (0.1, 9)) { try $0.logarithmOfOnePlus() },
    function("sigmoid") { try $0.sigmoid() }, function("relu") { try $0.relu() },
    function("silu") { try $0.silu() },
    function("complementaryErrorFunction") { try $0.complementaryErrorFunction() },
    function("gelu", (-2, 4)) { try $0.gelu() },
    function("gelu by tanh", (-2, 4)) { try $0.gelu(usesTanh: true) },
    function("power of a number", (0.5, 4)) { try $0.power(2.5) },
    function("clamped") { try $0.clamped(to: -1.5...2) },
    function("dropout") {
      var generator = Philox(seed: 4, position: 3)
      return try $0.dropout(0.3, using: &generator)
    },
  ]

  private static let other =
    [
      DeviceOperation(
        name: "select", dtypes: numbers,
        shapes: [[[4, 5], [4, 5], [5]], [[3, 1], [], [3, 70]]],
        range: (-5, 5)
      ) { try .select($0[0].isGreater(than: .zeros([], dtype: $0[0].dtype)), $0[1], $0[2]) },
      DeviceOperation(
        name: "concatenated", dtypes: numbers,
        shapes: [[[2, 3, 4], [2, 3, 4]], [[5], [0], [2]], [[2, 0, 3], [2, 7, 3]].reversed()]
      ) { try .concatenated($0, $0[0].rank == 3 ? 1 : 0) },
      DeviceOperation(name: "slices", shapes: [[[6, 5, 4]]]) {
        let pieces = try $0[0].split(1, sizes: [2, 0, 3])
        return try .concatenated([pieces[2].sliced(0, 2..<5), pieces[0].sliced(0, 0..<3) * 2], 1)
          .transposed().reshaped([-1])
      },
      DeviceOperation(name: "subscripts", dtypes: numbers, shapes: [[[6, 5, 4]]]) {
        try $0[0][1...3, .newAxis, .ellipsis, 2...].contiguous()
      },
      DeviceOperation(name: "stacked", dtypes: numbers, shapes: [[[2, 3], [2, 3]], [[0], [0]]]) {
        try .stacked($0, 1)
      },
      // Of one sign, so that terms do not cancel.
      DeviceOperation(
        name: "cumulativeSum", dtypes: numbers, shapes: [[[5, 1]], [[3, 67, 2]], [[2, 0]]],
        range: (0.5, 1.5)
      ) { try $0[0].cumulativeSum(1) },
      DeviceOperation(
        name: "cumulativeSum from the end", shapes: [[[67]]], range: (0.5, 1.5)
      ) { try $0[0].cumulativeSum(0, reversed: true) },
      DeviceOperation(
        name: "argmax", dtypes: DType.allCases, shapes: [[[5, 1]], [[3, 67, 2]], [[2, 16]]],
        isDifferentiable: false
      ) { try $0[0].argmax(1) },
      DeviceOperation(name: "layerNorm", shapes: [[[3, 5], [5], [5]]]) {
        try $0[0].layerNorm(weight: $0[1], bias: $0[2])
      },
      DeviceOperation(name: "reshaped", shapes: [[[6, 5, 4]]]) {
        try $0[0].transposed(0, 1).reshaped([5, -1]).expanded(to: [3, 5, 24])
      },
    ]
    + sums(nil, "all") + sums([0], "first") + sums([-1], "last") + sums([0, 2], "first and third")

  private static func sums(_ axes: [Int]?, _ label: String) -> [DeviceOperation] {
    let shapes: [[Shape]] =
      axes?.count == 2
      ? [[[3, 4, 5]], [[40, 3, 700]], [[2, 1, 3, 5]], [[3, 0, 2]]]
      : [[[1]], [[7]], [[5, 3]], [[0, 3]], [[3, 0]], [[2, 3000]], [[3000, 3]], [[70_001]]]
    return [
      // Of one sign, so that terms do not cancel.
      DeviceOperation(name: "sum of \(label) axes", shapes: shapes, range: (0.01, 0.1)) {
        try $0[0].sum(axes)
      },
      DeviceOperation(name: "mean of \(label) axes", shapes: shapes, range: (0.01, 0.1)) {
        try $0[0].mean(axes, keepsAxes: true)
      },
    ]
  }
}
