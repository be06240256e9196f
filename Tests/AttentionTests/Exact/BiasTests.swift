import TestSupport
import Testing

@testable import AttentionOperators
@testable import AttentionTensors

/// A bias of any dtype, broadcast and layout is read in place, with bitwise the same effect as in float32.
@Suite struct BiasTests {
  /// Rows and columns that do not divide into tiles, more than one tile of each.
  private static let (b, h, t, s) = (2, 4, 70, 141)

  struct Layout: CustomTestStringConvertible, Sendable {
    var shape: Shape
    /// Whether keys are strided and queries contiguous.
    var isTransposed = false
    var testDescription: String { "\(shape)\(isTransposed ? " transposed" : "")" }
  }

  static let layouts = [
    Layout(shape: [b, h, t, s]), Layout(shape: [b, h, t, s], isTransposed: true),
    Layout(shape: [t, s], isTransposed: true), Layout(shape: [h, 1, s]),
    Layout(shape: [b, 1, t, 1]), Layout(shape: [1, 1, 1, 1]),
  ]

  static let kernels = [
    "cpu.tiled", "cpu.tiled.bfloat16", "cpu.decode", "cpu.unfused", "cpu.reference",
  ]

  @Test(arguments: [DType.bfloat16, .float16, .float64, .bool], layouts)
  func addsTheBitsOfFloat32(_ dtype: DType, _ layout: Layout) throws {
    let bias = try Self.bias(dtype, layout)
    let floats = try Self.widened(bias)
    for kernel in Self.kernels {
      let call = BiasedCall(
        dtype: kernel == "cpu.tiled.bfloat16" ? .bfloat16 : .float32, batch: Self.b,
        queries: kernel == "cpu.decode" ? 3 : Self.t, keys: Self.s, heads: Self.h,
        kernel: kernel, hasGradients: kernel != "cpu.decode")
      guard try call.canRun(bias) else { continue }
      let own = try call.results(call.cut(bias))
      let expected = try call.results(call.cut(floats))
      #expect(own.keys.sorted() == expected.keys.filter { dtype != .bool || $0 != "bias" }.sorted())
      for (name, tensor) in own {
        // The reference's gradients are float64: that of a float32 bias is rounded once more.
        if kernel == "cpu.reference", name == "bias" { continue }
        // A gradient has the dtype of its input.
        let right = try expected[name]!.cast(to: name == "bias" ? dtype : tensor.dtype)
        #expect(try BiasedCall.bits(tensor) == BiasedCall.bits(right), "\(kernel): \(name)")
      }
    }
  }

  @Test(arguments: [DType.float32, .bfloat16, .float16, .float64, .bool])
  func isNotCopied(_ dtype: DType) throws {
    let bias = try Self.bias(dtype, Layout(shape: [Self.t, Self.s]))
    let tokens = try Tensor.zeros([Self.b, Self.t, Self.h, 8])
    let keys = try Tensor.zeros([Self.b, Self.s, Self.h, 8])
    let inputs = try OperatorCall<ExactAttention>(
      queries: tokens, keys: keys, values: keys, terms: ScoreTerms(bias: bias)
    ).arguments()
    #expect(inputs.bias?.dtype == dtype)
    #expect(try inputs.bias?.hostElements().base == bias.hostElements().base)
  }

  @Test func integersAreRefused() throws {
    let tokens = try Tensor.zeros([1, 3, 2, 8])
    for dtype in [DType.int32, .int64] {
      #expect(
        throws: AttentionError.invalidArgument(
          "bias", was: "\(dtype.rawValue) [3, 3]",
          mustBe: "floating-point or bool, and broadcastable to [1, 2, 3, 3]")
      ) {
        try attention(
          queries: tokens, keys: tokens, values: tokens,
          terms: ScoreTerms(bias: .zeros([3, 3], dtype: dtype)))
      }
    }
  }

  /// Numbers, −∞, and rows that dominate the scores; flags with an all-false row.
  private static func bias(_ dtype: DType, _ layout: Layout) throws -> Tensor {
    var random = Philox(seed: 3, label: "bias")
    let shape = layout.shape
    var numbers = try Tensor.normal(shape, using: &random).elements(as: Double.self)
    let width = shape[shape.rank - 1]
    let rows = shape.elementCount / width
    for row in 0..<rows {
      for column in row * width..<(row + 1) * width {
        switch row % 7 {
        case 2: numbers[column] -= dtype == .float16 ? 6e4 : 1e9
        case 4 where rows > 1: numbers[column] = dtype == .bool ? -.infinity : numbers[column]
        default: if column % 5 == 3 { numbers[column] = -.infinity }
        }
      }
    }
    let bias =
      dtype == .bool
      ? try Tensor(numbers.map { $0 != -.infinity }, shape)
      : try Tensor(numbers, shape).cast(to: dtype)
    guard layout.isTransposed else { return bias }
    return try bias.transposed(-1, -2).contiguous().transposed(-1, -2)
  }

  private static func widened(_ bias: Tensor) throws -> Tensor {
    try bias.dtype == .bool
      ? .select(bias, .zeros([]), .full([], -.infinity)) : bias.cast(to: .float32)
  }
}

/// A call of exact attention with a bias, on any device.
struct BiasedCall {
  var dtype: DType
  var batch: Int
  var queries: Int
  var keys: Int
  var heads: Int
  var kernel: String
  var hasGradients = true
  var device = Device.cpu
  private let dimension = 24

  private func tensors() throws -> [Tensor] {
    var random = Philox(seed: 5, label: "biased call")
    return try [queries, keys, keys, queries].map {
      try Tensor.normal([batch, $0, heads, dimension], using: &random, dtype: dtype)
        .moved(to: device)
    }
  }

  /// The first rows of a bias, as many as there are queries.
  func cut(_ bias: Tensor) throws -> Tensor {
    let axis = bias.rank - 2
    return bias.shape[axis] <= queries ? bias : try bias.sliced(axis, 0..<queries)
  }

  func canRun(_ bias: Tensor) throws -> Bool {
    let all = try tensors()
    let verdict = try OperatorCall<ExactAttention>(
      queries: all[0], keys: all[1], values: all[2], terms: ScoreTerms(bias: cut(bias))
    ).explanation(on: device, needsGradient: hasGradients)
    return verdict.candidates.contains { $0.kernel == kernel && $0.objection == nil }
  }

  /// Output, log-sum-exp, and all gradients.
  func results(_ bias: Tensor) throws -> [String: Tensor] {
    var sources = Array(try tensors().prefix(3)) + [try bias.moved(to: device)]
    let isTracked = sources.map { hasGradients && $0.dtype.isFloatingPoint }
    sources = zip(sources, isTracked).map { $1 ? $0.tracked() : $0 }
    let result = try attention(
      queries: sources[0], keys: sources[1], values: sources[2],
      terms: ScoreTerms(bias: sources[3]), kernel: kernel)
    var results = ["output": result.output, "log-sum-exp": result.logSumExp]
    if hasGradients {
      let names = zip(["queries", "keys", "values", "bias"], isTracked).filter(\.1).map(\.0)
      let gradients = try Tensor.gradients(
        of: zip(sources, isTracked).filter(\.1).map(\.0),
        through: [(result.output, tensors()[3])])
      for (name, gradient) in zip(names, gradients) { results[name] = gradient }
    }
    return try results.mapValues { try $0.detached().moved(to: .cpu) }
  }

  static func bits(_ tensor: Tensor) throws -> [UInt64] {
    try tensor.elements(as: Double.self).map(\.bitPattern)
  }
}
