import Testing

@testable import AttentionOperators
@testable import AttentionTensors

/// The tiled kernel compared with the float64 definition, one feature at a time.
@Suite struct TiledExactTests {
  struct Case: CustomStringConvertible, Sendable {
    var name: String
    var t = 70
    var s = 133
    var heads = 4
    var keyHeads = 2
    var k = 24
    var v = 40
    var batch = 2
    var similarity: @Sendable () throws -> Similarity = { .dotProduct() }
    var mask: @Sendable () throws -> AttentionMask = { AttentionMask() }
    var terms: @Sendable (inout Philox) throws -> ScoreTerms = { _ in ScoreTerms() }
    var description: String { name }
  }

  static let cases: [Case] = [
    Case(name: "plain"),
    Case(name: "causal bottom-right", mask: { AttentionMask(isCausal: true) }),
    Case(
      name: "causal bottom-right, rows that see nothing", t: 133, s: 70,
      mask: { AttentionMask(isCausal: true) }),
    Case(name: "causal top-left", mask: { AttentionMask(isCausal: true, alignment: .topLeft) }),
    Case(name: "window", mask: { AttentionMask(window: Window(left: 9, right: 3)) }),
    Case(
      name: "causal window", t: 300, s: 300, heads: 2, keyHeads: 1,
      mask: { AttentionMask(isCausal: true, window: Window(left: 17, right: nil)) }),
    Case(
      name: "key mask",
      mask: {
        AttentionMask(keyMask: try Tensor((0..<266).map { $0 % 3 != 0 && $0 < 200 }, [2, 133]))
      }),
    Case(
      name: "padding of whole tiles", t: 70, s: 400,
      mask: {
        AttentionMask(
          keyMask: try Tensor((0..<800).map { (150..<160).contains($0) || $0 >= 790 }, [2, 400]))
      },
      terms: { ScoreTerms(bias: try .normal([2, 1, 70, 400], using: &$0)) }),
    Case(
      name: "packed", t: 200, s: 200, batch: 1,
      mask: {
        AttentionMask(
          isCausal: true, cumulativeLengths: try Tensor([0, 0, 65, 66, 66, 200] as [Int32]))
      }),
    Case(
      name: "scale per head",
      similarity: { .dotProduct(scale: .perHead(try Tensor([0.5, -1, 0, 2] as [Float]))) }),
    Case(name: "cosine", similarity: { .cosine() }),
    Case(name: "cosine groups", similarity: { .cosine(scale: .number(3), groups: 4) }),
    Case(name: "cosine large scale", similarity: { .cosine(scale: .number(60)) }),
    Case(
      name: "cosine not normalising",
      similarity: { .cosine(scale: .number(0.7), normalizes: false) }),
    Case(name: "softcap", terms: { _ in ScoreTerms(softcap: 0.8) }),
    Case(
      name: "ALiBi", mask: { AttentionMask(isCausal: true) },
      terms: { _ in ScoreTerms(alibi: .standard) }),
    Case(name: "bias", terms: { ScoreTerms(bias: try .normal([2, 4, 70, 133], using: &$0)) }),
    Case(
      name: "bias over batch", terms: { ScoreTerms(bias: try .normal([4, 70, 133], using: &$0)) }),
    Case(
      name: "bias over heads and queries",
      terms: { ScoreTerms(bias: try .normal([2, 1, 1, 133], using: &$0)) }),
    Case(
      name: "bias over keys", terms: { ScoreTerms(bias: try .normal([1, 4, 70, 1], using: &$0)) }),
    Case(
      name: "logit decay", t: 200, s: 200, mask: { AttentionMask(isCausal: true) },
      terms: { ScoreTerms(logitDecay: try .uniform([2, 200, 4], from: -0.3, to: 0, using: &$0)) }),
    Case(name: "sinks", terms: { _ in ScoreTerms(sinks: try Tensor([0, 1, -2, 5] as [Float])) }),
    Case(
      name: "long, a bound for the maximum", t: 520, s: 600, heads: 2, keyHeads: 1, k: 16, v: 8,
      batch: 1, similarity: { .dotProduct(scale: .number(-0.1)) },
      mask: { AttentionMask(isCausal: true, alignment: .topLeft) }),
    Case(
      name: "long, logits too large for a bound", t: 520, s: 600, heads: 2, keyHeads: 1, k: 16,
      v: 8, batch: 1, similarity: { .dotProduct(scale: .number(3)) }),
    Case(
      name: "long, rows that see nothing", t: 600, s: 520, heads: 2, keyHeads: 2, k: 16, v: 8,
      batch: 1, mask: { AttentionMask(isCausal: true) }),
    Case(
      name: "everything", t: 150, s: 150,
      mask: { AttentionMask(isCausal: true, window: Window(left: 40, right: 0)) },
      terms: {
        ScoreTerms(
          softcap: 2, alibi: .standard, bias: try .normal([1, 4, 150, 150], using: &$0),
          logitDecay: try .uniform([2, 150, 4], from: -0.3, to: 0, using: &$0),
          sinks: try Tensor([0, 1, -2, 5] as [Float]))
      }),
  ]

  @Test(arguments: cases) func agreesWithTheDefinition(_ item: Case) throws {
    var random = Philox(seed: UInt64.random(in: 0..<1000))
    let q = try Tensor.normal(
      [item.batch, item.t, item.heads, item.k], standardDeviation: 2, using: &random)
    let k = try Tensor.normal(
      [item.batch, item.s, item.keyHeads, item.k], standardDeviation: 2, using: &random)
    let v = try Tensor.normal([item.batch, item.s, item.keyHeads, item.v], using: &random)
    let terms = try item.terms(&random)
    let outSeed = try Tensor.normal([item.batch, item.t, item.heads, item.v], using: &random)
    let inputs = try OperatorCall<ExactAttention>(
      queries: q.tracked(), keys: k, values: v, similarity: item.similarity(), mask: item.mask(),
      terms: terms.trackingBias
    ).arguments()
    let expected = try PlainExactKernel.reference.forward(inputs)
    let actual = try TiledExactKernel.float32.forward(inputs)
    check("output", actual.output, expected.output, 1e-5)
    check("lse", actual.logSumExp, expected.logSumExp, 1e-5)
    let lseSeed = try Tensor.normal(expected.logSumExp.shape, using: &random)
    let want = try PlainExactKernel.reference.backward(
      inputs, expected, [.output: outSeed, .logSumExp: lseSeed])
    let have = try TiledExactKernel.float32.backward(
      inputs, actual, [.output: outSeed, .logSumExp: lseSeed])
    check("queries", have[.queries], want[.queries], 1e-4)
    check("keys", have[.keys], want[.keys], 1e-4)
    check("values", have[.values], want[.values], 1e-4)
    check("scale", have[.scale], want[.scale], 1e-4)
    check("bias", have[.bias], want[.bias], 1e-4)
    check("decay", have[.logitDecay], want[.logitDecay], 1e-4)
    check("sinks", have[.sinks], want[.sinks], 1e-4)
  }

  /// The bfloat16 kernel, where supported: its error is that of rounded weights.
  @Test(arguments: cases) func bfloat16AgreesWithTheDefinition(_ item: Case) throws {
    guard InstructionSet.current.kernels.has_bf16 != 0 else { return }
    var random = Philox(seed: UInt64.random(in: 0..<1000))
    func draw(_ length: Int, _ heads: Int, _ width: Int) throws -> Tensor {
      try .normal([item.batch, length, heads, width], using: &random, dtype: .bfloat16)
    }
    let terms = try item.terms(&random)
    let inputs = try OperatorCall<ExactAttention>(
      queries: draw(item.t, item.heads, item.k).tracked(),
      keys: draw(item.s, item.keyHeads, item.k),
      values: draw(item.s, item.keyHeads, item.v), similarity: item.similarity(),
      mask: item.mask(),
      terms: terms.trackingBias
    ).arguments()
    let kernel = TiledExactKernel.bfloat16
    #expect(kernel.objection(to: inputs.problem) == nil)
    let expected = try PlainExactKernel.reference.forward(inputs)
    let actual = try kernel.forward(inputs)
    check("output", actual.output, expected.output, 1e-2)
    check("lse", actual.logSumExp, expected.logSumExp, 1e-2)
    let seed = try draw(item.t, item.heads, item.v)
    let want = try PlainExactKernel.reference.backward(inputs, expected, [.output: seed])
    let have = try kernel.backward(inputs, actual, [.output: seed])
    // The other gradients are sums over whole axes, whose terms cancel: the conformance cases judge
    // them by the size of their terms.
    check("queries", have[.queries], want[.queries], 1e-2)
    check("keys", have[.keys], want[.keys], 1e-2)
    check("values", have[.values], want[.values], 1e-2)
  }

  func check(_ name: String, _ a: Tensor?, _ b: Tensor?, _ bound: Double) {
    #expect(a?.shape == b?.shape)
    let error = error(a, b)
    #expect(error <= bound, "\(name): \(error)")
  }

  /// RMS(a − b) / RMS(b); infinite numbers must be equal.
  func error(_ a: Tensor?, _ b: Tensor?) -> Double {
    guard let a, let b, let x = try? a.elements(as: Double.self),
      let y = try? b.elements(as: Double.self)
    else { return 0 }
    var difference = 0.0
    var size = 0.0
    for (p, q) in zip(x, y) where !(p.isInfinite && p == q) {
      difference += (p - q) * (p - q)
      size += q * q
    }
    return size == 0 ? difference : (difference / size).squareRoot()
  }

  /// NaN in a key reaches every query that attends to it, whatever replaces the running maximum.
  @Test(arguments: [32, 600]) func nanReachesWhoSeesIt(length: Int) throws {
    var random = Philox(seed: 3)
    let q = try Tensor.normal([1, length, 1, 8], using: &random)
    var numbers = try Tensor.normal([1, length, 1, 8], using: &random).elements(as: Float.self)
    numbers[(length - 2) * 8] = .nan
    let k = try Tensor(numbers, [1, length, 1, 8])
    let output = try attention(
      queries: q, keys: k, values: q, mask: AttentionMask(isCausal: true), kernel: "cpu.tiled"
    ).output.elements(as: Float.self)
    for row in 0..<length {
      #expect(output[row * 8].isNaN == (row >= length - 2), "row \(row)")
    }
  }
}

extension ScoreTerms {
  /// The same terms, with a bias that has a gradient.
  fileprivate var trackingBias: ScoreTerms {
    var terms = self
    terms.bias = bias?.tracked()
    return terms
  }
}
