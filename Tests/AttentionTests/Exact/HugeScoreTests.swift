import AttentionTensors
import TestSupport
import Testing

@testable import AttentionOperators

/// Rows of finite scores so large that float32 cannot represent their differences, or the logarithm of their sum,
/// added to them: every kernel compared with the definition in float64.
@Suite struct HugeScoreTests {
  struct Size: CustomTestStringConvertible, Sendable {
    var dtype = DType.float32
    var queries: Int
    var keys: Int
    var dimension: Int
    var isCausal = false
    /// Causal, with NaN in queries that attend to nothing, or in keys and values that nothing attends to.
    var garbage: Garbage?

    enum Garbage: Sendable { case queries, keys }

    var testDescription: String {
      "\(dtype.rawValue) \(queries)×\(keys)×\(dimension)\(isCausal ? " causal" : "")"
        + (garbage.map { ", garbage in \($0)" } ?? "")
    }

    /// For results; gradients in float32 may have ten times the error.
    func bound(isGradient: Bool) -> Double {
      switch dtype {
      case .float16: 2e-3
      case .bfloat16: 1e-2
      default: isGradient ? 1e-4 : 1e-5
      }
    }
  }

  /// Decoding, partial tiles, and long sequences of whole blocks, for which GPUs have kernels of their own.
  static let sizes = [
    Size(queries: 1, keys: 70, dimension: 16), Size(queries: 37, keys: 70, dimension: 16),
    Size(queries: 70, keys: 70, dimension: 16, isCausal: true),
    Size(queries: 260, keys: 260, dimension: 64, isCausal: true),
    Size(dtype: .bfloat16, queries: 37, keys: 70, dimension: 64),
    Size(dtype: .float16, queries: 37, keys: 70, dimension: 64),
    Size(dtype: .bfloat16, queries: 1, keys: 70, dimension: 16),
  ]

  static let fills: [Float] = [
    -1e9, -1e10, -1e30, 1e30, -.greatestFiniteMagnitude, .greatestFiniteMagnitude,
  ]

  private struct Problem {
    let size: Size
    /// Queries, keys, values, and dO.
    var tensors: [Tensor]
    var bias: Tensor?

    init(_ size: Size, bias: Float? = nil) throws {
      self.size = size
      var random = Philox(seed: 9, label: size.testDescription)
      let heads = 2
      func draw(_ length: Int) throws -> Tensor {
        try .normal([1, length, heads, size.dimension], using: &random, dtype: size.dtype)
      }
      tensors = [
        try draw(size.queries), try draw(size.keys), try draw(size.keys), try draw(size.queries),
      ]
      for index in tensors.indices {
        let isOfQueries = index == 0 || index == 3
        guard let garbage = size.garbage, isOfQueries == (garbage == .queries) else { continue }
        // The first queries or the last keys are surplus.
        let hidden =
          isOfQueries ? 0..<size.queries - size.keys : size.queries..<size.keys
        let length = tensors[index].shape[1]
        tensors[index] = try .select(
          Tensor((0..<length).map(hidden.contains), [1, length, 1, 1]),
          .full([], .nan, dtype: size.dtype), tensors[index])
      }
      self.bias = try bias.map {
        try Tensor.full([size.queries, size.keys], Double($0)).contiguous()
      }
    }

    private var mask: AttentionMask {
      AttentionMask(
        isCausal: size.isCausal || size.garbage != nil,
        alignment: size.garbage == .keys ? .topLeft : .bottomRight)
    }

    /// The same numbers in float64.
    private func exact() throws -> Problem {
      var problem = self
      problem.tensors = try tensors.map { try $0.cast(to: .float64) }
      // In float64, too, scores vanish when added to it.
      problem.bias = try bias?.cast(to: .float64)
      return problem
    }

    /// The kernels that support it on a device, with or without gradients.
    func kernels(on device: Device, needsGradient: Bool) throws -> [String] {
      let explanation = try OperatorCall<ExactAttention>(
        queries: tensors[0], keys: tensors[1], values: tensors[2], mask: mask,
        terms: ScoreTerms(bias: bias)
      ).explanation(on: device, needsGradient: needsGradient)
      return explanation.candidates.filter {
        // The unfused computation has scores and bias in the inputs' dtype, which overflows or rounds earlier.
        $0.objection == nil && !(size.dtype != .float32 && $0.kernel == "cpu.unfused")
      }.map(\.kernel)
    }

    /// Output, log-sum-exp and, if requested, the gradients of queries, keys and values.
    func results(_ kernel: String, on device: Device, gradients: Bool) throws -> [Tensor] {
      let moved = try tensors.map { try $0.moved(to: device) }
      let inputs = moved[..<3].map { gradients ? $0.tracked() : $0 }
      let result = try attention(
        queries: inputs[0], keys: inputs[1], values: inputs[2], mask: mask,
        terms: ScoreTerms(bias: bias?.moved(to: device)), kernel: kernel)
      var all = [result.output, result.logSumExp]
      if gradients {
        all += try Tensor.gradients(of: Array(inputs), through: [(result.output, moved[3])])
      }
      return try all.map { try $0.detached().moved(to: .cpu) }
    }

    func expected() throws -> [Tensor] {
      try exact().results("cpu.reference", on: .cpu, gradients: true)
    }
  }

  private static let names = ["output", "log-sum-exp", "queries", "keys", "values"]

  /// Runs `body` on the results of every kernel, with and without gradients.
  private func forEachKernel(
    _ problem: Problem, on device: Device,
    _ body: (_ results: [Tensor], _ label: String) throws -> Void
  ) throws {
    for set in device == .cpu ? InstructionSet.supported : [.current] {
      try InstructionSet.withCurrent(set) {
        for gradients in [false, true] {
          let kernels = try problem.kernels(on: device, needsGradient: gradients)
          #expect(!kernels.isEmpty)
          for kernel in kernels where kernel != "cpu.reference" {
            try body(
              problem.results(kernel, on: device, gradients: gradients),
              "\(kernel) (\(set)), \(problem.size.testDescription)")
          }
        }
      }
    }
  }

  private func expectMeans(_ size: Size, on device: Device) throws {
    let expected = try Problem(size, bias: -1e30).expected()
    for fill in Self.fills {
      let problem = try Problem(size, bias: fill)
      try forEachKernel(problem, on: device) { results, label in
        for (index, own) in results.enumerated() {
          let words = "\(Self.names[index]) of \(label), bias \(fill)"
          if index == 1 {
            let sums = try own.elements(as: Float.self)
            #expect(sums.allSatisfy { abs($0 / fill - 1) < 1e-6 }, "\(words)")
          } else {
            try expectClose(own, expected[index], within: size.bound(isGradient: index > 1), words)
          }
        }
      }
    }
  }

  @Test(arguments: sizes) func aBiasOfOneNumberGivesMeans(_ size: Size) throws {
    try expectMeans(size, on: .cpu)
  }

  @Test(.onGPU, arguments: sizes) func aBiasOfOneNumberGivesMeansOnAGPU(_ size: Size) throws {
    try expectMeans(size, on: GPU.device)
  }

  /// Queries and keys of 10⁶, in float16 of 200: one key remains in each row.
  private func expectOneHot(_ size: Size, on device: Device) throws {
    let factor = size.dtype == .float16 ? 200.0 : 1e6
    var problem = try Problem(size)
    for index in 0..<2 { problem.tensors[index] = try problem.tensors[index] * factor }
    let expected = try problem.expected()
    try forEachKernel(problem, on: device) { results, label in
      for (index, own) in results.enumerated() {
        let words = "\(Self.names[index]) of \(label)"
        guard index == 2 || index == 3 else {
          try expectClose(own, expected[index], within: size.bound(isGradient: index > 1), words)
          continue
        }
        // Only the rounding of dP − δ remains of the gradients, in units of keys and queries.
        let unit = factor * size.bound(isGradient: false) * 4
        let isSmall = try zip(
          own.elements(as: Double.self), expected[index].elements(as: Double.self)
        )
        .allSatisfy { abs($0 - $1) < unit * 8 }
        #expect(isSmall, "\(words)")
      }
    }
  }

  /// NaN that nothing attends to: tiles with such rows are recomputed, in another order of summation.
  static let hidden = [
    Size(queries: 111, keys: 70, dimension: 16, garbage: .queries),
    Size(queries: 70, keys: 111, dimension: 16, garbage: .keys),
    Size(queries: 300, keys: 260, dimension: 64, garbage: .queries),
    Size(queries: 260, keys: 300, dimension: 64, garbage: .keys),
    Size(dtype: .bfloat16, queries: 111, keys: 70, dimension: 64, garbage: .queries),
    Size(dtype: .bfloat16, queries: 70, keys: 111, dimension: 64, garbage: .keys),
  ]

  @Test(arguments: hidden) func garbageBesideHugeScoresIsHidden(_ size: Size) throws {
    try expectOneHot(size, on: .cpu)
  }

  @Test(.onGPU, arguments: hidden) func garbageBesideHugeScoresIsHiddenOnAGPU(
    _ size: Size
  ) throws {
    try expectOneHot(size, on: GPU.device)
  }

  @Test(arguments: sizes) func queriesAndKeysOfAMillionChoose(_ size: Size) throws {
    try expectOneHot(size, on: .cpu)
  }

  @Test(.onGPU, arguments: sizes) func queriesAndKeysOfAMillionChooseOnAGPU(_ size: Size) throws {
    try expectOneHot(size, on: GPU.device)
  }

  /// All keys are equal: scores are huge and equal, so outputs are means.
  private func expectMeansOfEqualKeys(_ size: Size, on device: Device) throws {
    let factor = size.dtype == .float16 ? 256.0 : 0x1p20
    var problem = try Problem(size)
    // Multiples of a step, whose products are exact in any order.
    func steps(_ tensor: Tensor) throws -> Tensor {
      try Tensor(tensor.elements(as: Float.self).map { ($0 * 4).rounded() / 4 }, tensor.shape)
        .cast(to: size.dtype) * factor
    }
    problem.tensors[0] = try steps(problem.tensors[0])
    problem.tensors[1] = try steps(problem.tensors[1].sliced(1, 0..<1))
      .expanded(to: problem.tensors[1].shape).contiguous()
    let expected = try problem.expected()
    try forEachKernel(problem, on: device) { results, label in
      for (index, own) in results.enumerated() where index != 2 {
        try expectClose(
          own, expected[index], within: size.bound(isGradient: index > 1),
          "\(Self.names[index]) of \(label)")
      }
    }
  }

  @Test(arguments: sizes) func equalKeysOfAMillionGiveMeans(_ size: Size) throws {
    try expectMeansOfEqualKeys(size, on: .cpu)
  }

  @Test(.onGPU, arguments: sizes) func equalKeysOfAMillionGiveMeansOnAGPU(_ size: Size) throws {
    try expectMeansOfEqualKeys(size, on: GPU.device)
  }
}
