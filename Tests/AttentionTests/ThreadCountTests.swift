import TestSupport
import Testing

@testable import AttentionOperators
@testable import AttentionTensors

/// Threads decide who computes what, never what is computed: the choice of kernel, its estimate, the output
/// and the gradients are the same for any number of threads.
///
/// The shapes are those at which the choice or the partition changes: few queries and many, few heads and many,
/// sequences about as long as a piece and much longer.
@Suite struct ThreadCountTests {
  /// Queries, keys, heads, key/value heads.
  static let exactShapes = [
    [1, 4096, 8, 2], [2, 700, 8, 8], [16, 513, 4, 1], [17, 1030, 1, 1], [65, 65, 24, 3],
    [300, 300, 2, 1],
  ]

  @Test(arguments: exactShapes, [DType.float32, .bfloat16, .float16])
  func exactAttention(_ shape: [Int], _ dtype: DType) throws {
    var random = Philox(seed: 5, label: "\(shape)")
    let (t, s, heads, shared) = (shape[0], shape[1], shape[2], shape[3])
    func draw(_ shape: Shape) throws -> Tensor { try .normal(shape, using: &random, dtype: dtype) }
    let (q, k) = (try draw([1, t, heads, 32]), try draw([1, s, shared, 32]))
    let (v, seed) = (try draw([1, s, shared, 48]), try draw([1, t, heads, 48]))
    let bias = try Tensor.normal([heads, 1, s], using: &random)
    for (similarity, terms) in [
      (Similarity.dotProduct(), ScoreTerms()), (.cosine(groups: 2), ScoreTerms()),
      (.dotProduct(), ScoreTerms(softcap: 20, alibi: .standard, bias: bias)),
    ] {
      func run(_ inputs: [Tensor]) throws -> AttentionResult {
        var terms = terms
        if terms.bias != nil { terms.bias = inputs[3] }
        return try attention(
          queries: inputs[0], keys: inputs[1], values: inputs[2], similarity: similarity,
          mask: AttentionMask(isCausal: true), terms: terms)
      }
      try expectSameBits("\(shape) \(dtype) \(similarity)") {
        let alone = try run([q, k, v, bias])
        let leaves = [q, k, v, bias].map { $0.tracked() }
        let result = try run(leaves)
        let sources = terms.bias == nil ? leaves.dropLast() : leaves
        return [alone.output, alone.logSumExp, result.output, result.logSumExp]
          + (try result.output.gradients(of: Array(sources), seed: seed))
      }
    }
  }

  static let updates: [LinearProblem.Update] = [
    .additive, .additiveBefore, .delta, .generalizedDelta, .lowRank,
  ]
  static let decays: [LinearProblem.Decay] = [.none, .perHead, .perToken, .perChannel]

  @Test(arguments: updates, decays)
  func linearAttention(_ update: LinearProblem.Update, _ decay: LinearProblem.Decay) throws {
    for (length, heads) in [(1, 3), (65, 1), (700, 5), (1100, 2)] {
      let item = LinearCase(
        batch: 1, length: length, heads: heads, valueHeads: heads, keyDimension: 16,
        valueDimension: 64, decay: decay, update: update, strongest: -2)
      let arguments = try item.arguments()
      try expectSameBits("\(item)") {
        let result = try arguments(nil)
        let gradients = try arguments.gradients(nil).sorted { $0.key < $1.key }
        return [result.output, result.finalState] + gradients.map(\.value)
      }
    }
  }

  @Test(arguments: [
    [1, 1, 64], [1, 64, 16], [1, 65, 2048], [1, 4096, 16], [2, 2000, 40], [70, 100, 24],
  ])
  func gatedScan(_ shape: [Int]) throws {
    var random = Philox(seed: 1, label: "\(shape)")
    let inputs = try Tensor.normal(Shape(shape), using: &random)
    let decay = try -Tensor.normal(Shape(shape), using: &random).absolute()
    try expectSameBits("\(shape)") {
      let alone = try AttentionOperators.gatedScan(inputs: inputs, decay: decay)
      let leaves = [inputs, decay].map { $0.tracked() }
      let result = try AttentionOperators.gatedScan(inputs: leaves[0], decay: leaves[1])
      return [alone.output, alone.finalState, result.output, result.finalState]
        + (try result.output.squared().sum().gradients(of: leaves))
    }
  }

  @Test(arguments: [[1, 1, 300], [1, 130, 70], [3, 65, 1100]])
  func selectiveScan(_ shape: [Int]) throws {
    let sample = try SelectiveSample(
      batch: shape[0], length: shape[1], channels: shape[2], states: 4)
    let tracked = sample.mapping { $0.tracked() }
    try expectSameBits("\(shape)") {
      let (alone, result) = (try sample(nil), try tracked(nil))
      return [alone.output, alone.finalState, result.output, result.finalState]
        + (try result.output.squared().sum().gradients(of: tracked.sources))
    }
  }

  @Test(arguments: [[1, 1, 300], [1, 5000, 8], [3, 700, 520]])
  func shortConvolution(_ shape: [Int]) throws {
    var random = Philox(seed: 2, label: "\(shape)")
    let leaves = [
      try Tensor.normal(Shape(shape), using: &random), try .normal([shape[2], 4], using: &random),
    ].map { $0.tracked() }
    try expectSameBits("\(shape)") {
      let result = try AttentionOperators.shortConvolution(
        inputs: leaves[0], weight: leaves[1], appliesSiLU: true)
      return [result.output, result.finalState]
        + (try result.output.squared().sum().gradients(of: leaves))
    }
  }

  /// The order of the candidates and all estimates, over many more shapes, since nothing is computed.
  @Test func verdicts() throws {
    func expectSameVerdict(_ explain: () throws -> Explanation) throws {
      let verdicts = try [1, 2, 3, 8, 64].map { count in try withThreads(count, explain) }
      for verdict in verdicts.dropFirst() {
        #expect(verdict.chosen == verdicts[0].chosen, "\(verdict.problem)")
        #expect(
          verdict.candidates.map(\.kernel) == verdicts[0].candidates.map(\.kernel)
            && verdict.candidates.map(\.seconds) == verdicts[0].candidates.map(\.seconds),
          "\(verdict.problem)")
      }
    }
    for heads in [1, 2, 3, 8, 40] {
      for length in [1, 2, 16, 64, 65, 512, 513, 2000, 65536] {
        for needsGradient in [false, true] {
          let tokens = try Tensor.placeholder([1, length, heads, 64], dtype: .float32)
          let keys = try Tensor.placeholder([1, 4096, heads, 64], dtype: .float32)
          try expectSameVerdict {
            try OperatorCall<ExactAttention>(
              queries: tokens, keys: keys, values: keys
            ).explanation(needsGradient: needsGradient)
          }
          let beta = try Tensor.placeholder([1, length, heads], dtype: .float32)
          for update in [LinearUpdate.additive, .delta(beta: beta)] {
            try expectSameVerdict {
              try OperatorCall<LinearAttention>(
                queries: tokens, keys: tokens, values: tokens, update: update
              ).explanation(needsGradient: needsGradient)
            }
          }
          let channels = try Tensor.placeholder([1, length, heads * 64], dtype: .float32)
          try expectSameVerdict {
            try OperatorCall<GatedScan>(
              inputs: channels, decay: channels
            ).explanation(needsGradient: needsGradient)
          }
        }
      }
    }
  }

  /// A kernel that rounds every step to half precision is never chosen: for few queries it is slower than its
  /// operations suggest, and it is less accurate.
  @Test(arguments: [DType.float32, .bfloat16, .float16])
  func fewQueriesWithGradientsAreTiled(_ dtype: DType) throws {
    for queries in [1, 2, 3, 8] {
      for (heads, shared) in [(8, 8), (8, 1), (32, 8)] {
        for keys in [1, 64, 700, 4096, 65536] {
          let memory = try Tensor.placeholder([1, keys, shared, 64], dtype: dtype)
          let verdict = try OperatorCall<ExactAttention>(
            queries: .placeholder([1, queries, heads, 64], dtype: dtype), keys: memory,
            values: memory
          ).explanation(needsGradient: true)
          #expect(verdict.chosen?.hasPrefix("cpu.tiled") == true, "\(verdict)")
        }
      }
    }
  }
}
