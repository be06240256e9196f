import AttentionCUDA
import AttentionTensors
import TestSupport
import Testing

@testable import AttentionOperators

/// Exact attention on a GPU at sizes at which its kernels differ; the conformance cases are smaller.
@Suite(.onGPU) struct FlashDeviceTests {
  struct Size: CustomTestStringConvertible, Sendable {
    var dtype = DType.bfloat16
    var batch = 1
    var queries: Int
    var keys: Int
    var heads = 2
    var groups = 1
    var dimension: Int
    var isCausal = true
    var allowsTF32 = false
    var isPacked = false
    /// Whether elements of different rows differ by factors of up to 2⁴⁰.
    var isUneven = false

    var testDescription: String {
      "\(dtype.rawValue)\(allowsTF32 ? " as TF32" : "") \(batch)×\(queries)×\(heads)×\(dimension) by "
        + "\(keys)×\(groups)\(isCausal ? " causal" : "")\(isPacked ? " packed" : "")"
        + (isUneven ? " uneven" : "")
    }

    /// For results and gradients, relative to their size: two units in the last place of weights and results,
    /// float32's conformance bounds, and TF32's 2⁻¹¹ in each of two products.
    var bound: Double {
      switch dtype {
      case .bfloat16: 1e-2
      case .float16: 2e-3
      default: allowsTF32 ? 4e-3 : 1e-5
      }
    }
  }

  /// A bias is read in place: bitwise the same as in float32, its gradient rounded once.
  @Test(arguments: [DType.bfloat16, .float16, .float64, .bool], [DType.bfloat16, .float32])
  func readsABiasAsItLies(_ bias: DType, _ dtype: DType) throws {
    var random = Philox(seed: 11, label: "bias")
    let numbers = try Tensor.normal([1, 2, 40, 70], using: &random).transposed(2, 3).contiguous()
      .transposed(2, 3)
    let own =
      try bias == .bool
      ? numbers.isGreater(than: .full([], -0.5)) : numbers.cast(to: bias)
    let floats =
      try bias == .bool
      ? Tensor.select(own, .zeros([]), .full([], -.infinity)) : own.cast(to: .float32)
    for queries in [40, 3] {
      let call = BiasedCall(
        dtype: dtype, batch: 2, queries: queries, keys: 70, heads: 2,
        kernel: dtype == .float32 ? "cuda.float32" : "cuda.flash", hasGradients: queries == 40,
        device: GPU.device)
      let (have, want) = (
        try call.results(call.cut(own)), try call.results(call.cut(floats))
      )
      for (name, tensor) in have {
        let right = try want[name]!.cast(to: name == "bias" ? bias : tensor.dtype)
        #expect(try BiasedCall.bits(tensor) == BiasedCall.bits(right), "\(name)")
      }
    }
  }

  /// Hopper's wgmma (64 and 128, whole and partial tiles, grouped heads, a packed batch), separate kernels for
  /// keys and values (256), float32 in tiles, with wgmma (from 256 queries on) and rounded to TF32.
  @Test(arguments: [
    Size(queries: 130, keys: 200, dimension: 64),
    Size(dtype: .float16, batch: 2, queries: 65, keys: 65, dimension: 128, isCausal: false),
    Size(queries: 150, keys: 150, dimension: 64, isPacked: true),
    Size(queries: 40, keys: 70, heads: 1, dimension: 256),
    Size(dtype: .float32, queries: 70, keys: 100, dimension: 64),
    Size(dtype: .float32, queries: 40, keys: 40, dimension: 128),
    Size(dtype: .float32, queries: 20, keys: 40, heads: 1, dimension: 200),
    Size(dtype: .float32, queries: 260, keys: 300, heads: 1, dimension: 64, isCausal: false),
    Size(dtype: .float32, queries: 300, keys: 300, dimension: 64, isPacked: true),
    Size(dtype: .float32, queries: 257, keys: 270, dimension: 128),
    Size(dtype: .float32, queries: 256, keys: 320, heads: 1, dimension: 128, isUneven: true),
    Size(dtype: .float32, queries: 40, keys: 70, dimension: 64, allowsTF32: true),
  ])
  func agreesWithTheDefinition(_ size: Size) throws {
    let inputs = try Inputs(size)
    let own = try inputs.run(on: GPU.device, kernel: nil)
    try inputs.compare(own, withIn: size.bound)
    #expect(
      try inputs.run(on: GPU.device, kernel: nil).map { try $0.elements(as: Float.self) }
        == own.map { try $0.elements(as: Float.self) })
  }

  /// For few queries the keys are split among blocks, whose rows are those of all heads of a group.
  @Test(arguments: [
    Size(queries: 1, keys: 600, heads: 4, dimension: 64),
    Size(dtype: .float32, batch: 2, queries: 3, keys: 530, heads: 6, groups: 2, dimension: 32),
    Size(dtype: .float16, queries: 5, keys: 700, heads: 8, groups: 2, dimension: 128),
  ])
  func splitKeysAreMerged(_ size: Size) throws {
    let inputs = try Inputs(size)
    #expect(
      FlashSplit.parts(
        try inputs.problem().problem, longestQueries: size.queries, multiprocessors: 132) != nil)
    try inputs.compare(
      inputs.run(on: GPU.device, kernel: nil, gradients: false), withIn: size.bound)
  }

  /// A scale per head: below, at and above the limit for a constant bound, negative and zero; and heads of both
  /// kinds in one block of split keys.
  @Test(arguments: [DType.bfloat16, .float16, .float32], [(33, 70), (2, 600)])
  func eachHeadsScaleDecidesOnItsBound(dtype: DType, lengths: (Int, Int)) throws {
    let scales: [Float] = [40, 40.01, -9, 9.01, 0, -200, 8, 1e-35]
    var generator = Philox(seed: 3, label: "\(dtype) \(lengths)")
    func draw(_ length: Int, _ heads: Int) throws -> Tensor {
      try .normal([2, length, heads, 32], using: &generator, dtype: dtype)
    }
    // Keys parallel and antiparallel to queries: scores reach their bounds.
    let queries = try draw(lengths.0, scales.count)
    let along = try queries.sliced(2, 0..<2).sliced(1, 0..<1)
    let keys = try Tensor.concatenated([along, -along, draw(lengths.1 - 2, 2)], 1)
    let inputs = try [queries, keys, draw(lengths.1, 2)]
    func run(_ device: Device, _ dtype: DType) throws -> AttentionResult {
      let moved = try inputs.map { try $0.cast(to: dtype).moved(to: device) }
      return try attention(
        queries: moved[0], keys: moved[1], values: moved[2],
        similarity: .cosine(scale: .perHead(Tensor(scales).moved(to: device))))
    }
    let (own, exact) = try (run(GPU.device, dtype), run(.cpu, .float64))
    let bound = dtype == .float32 ? 1e-5 : dtype == .float16 ? 2e-3 : 1e-2
    for head in scales.indices {
      let place = head..<head + 1
      let words = "\(dtype) \(lengths) scale \(scales[head])"
      #expect(
        try relativeError(
          own.output.sliced(2, place).moved(to: .cpu), exact.output.sliced(2, place)) <= bound,
        "\(words)")
      #expect(
        try relativeError(
          own.logSumExp.sliced(1, place).moved(to: .cpu), exact.logSumExp.sliced(1, place))
          <= bound, "log-sum-exp, \(words)")
    }
  }

  @Test func tensorsOfOneCallAreOnOneDevice() throws {
    let inputs = try Inputs(Size(queries: 4, keys: 4, dimension: 16)).tensors
    let there = try inputs.map { try $0.moved(to: GPU.device) }
    #expect(
      throws: AttentionError.invalidArgument(
        "values", was: "on cpu", mustBe: "on cuda:0 like the queries")
    ) {
      try attention(queries: there[0], keys: there[1], values: inputs[2])
    }
    #expect(
      throws: AttentionError.invalidArgument(
        "sinks", was: "on cpu", mustBe: "on cuda:0 like the queries")
    ) {
      try attention(
        queries: there[0], keys: there[1], values: there[2],
        terms: ScoreTerms(sinks: .zeros([2])))
    }
  }

  private struct Inputs {
    let size: Size
    /// Queries, keys, values, and dO.
    let tensors: [Tensor]

    init(_ size: Size) throws {
      self.size = size
      var generator = Philox(seed: 7)
      func draw(_ length: Int, _ heads: Int) throws -> Tensor {
        try .normal(
          [size.batch, length, heads, size.dimension], using: &generator, dtype: size.dtype)
      }
      /// Rows scaled by powers of two from 2^low on.
      func uneven(_ tensor: Tensor, from low: Int) throws -> Tensor {
        guard size.isUneven else { return tensor }
        let length = tensor.shape[1]
        let factors = (0..<length).map {
          Float(sign: .plus, exponent: low + 17 * $0 % 40, significand: 1)
        }
        return try tensor * Tensor(factors).reshaped([1, length, 1, 1])
      }
      // Scores stay small: a float32 of 2²⁰ has no bits left for the differences that a softmax sees.
      tensors = [
        try uneven(draw(size.queries, size.heads), from: -20),
        try uneven(draw(size.keys, size.groups), from: -60),
        try uneven(draw(size.keys, size.groups), from: -20),
        try uneven(draw(size.queries, size.heads), from: -30),
      ]
    }

    private func mask() throws -> AttentionMask {
      AttentionMask(
        isCausal: size.isCausal,
        cumulativeLengths: size.isPacked
          ? try Tensor([0, 40, 40, Int32(size.keys)] as [Int32]) : nil)
    }

    func problem() throws -> ExactArguments {
      try OperatorCall<ExactAttention>(
        queries: tensors[0], keys: tensors[1], values: tensors[2], mask: mask()
      ).arguments()
    }

    /// The output, the log-sum-exp and the three gradients, on the CPU.
    func run(on device: Device, kernel: String?, gradients: Bool = true) throws -> [Tensor] {
      let moved = try tensors.map { try $0.moved(to: device) }
      let tracked = moved[0..<3].map { gradients ? $0.tracked() : $0 }
      let result = try attention(
        queries: tracked[0], keys: tracked[1], values: tracked[2], mask: mask(),
        allowsTF32: size.allowsTF32, kernel: kernel)
      var all = [result.output, result.logSumExp]
      if gradients {
        all += try Tensor.gradients(of: tracked, through: [(result.output, moved[3])])
      }
      return try all.map { try $0.detached().moved(to: .cpu) }
    }

    func compare(_ results: [Tensor], withIn bound: Double) throws {
      let exact = try Inputs(self).run(
        on: .cpu, kernel: "cpu.reference", gradients: results.count > 2)
      let names = ["output", "log-sum-exp", "queries", "keys", "values"]
      for (name, (own, right)) in zip(names, zip(results, exact)) {
        let a = try own.elements(as: Double.self)
        let b = try right.elements(as: Double.self)
        let error = zip(a, b).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
        let total = b.reduce(0) { $0 + $1 * $1 }
        #expect((error / total).squareRoot() <= bound, "\(size.testDescription): \(name)")
      }
    }

    /// The same numbers in float64.
    private init(_ other: Inputs) throws {
      var size = other.size
      size.dtype = .float64
      self.size = size
      tensors = try other.tensors.map { try $0.cast(to: .float64) }
    }
  }
}
