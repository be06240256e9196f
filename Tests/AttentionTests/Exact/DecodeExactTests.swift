import Testing

@testable import AttentionOperators
@testable import AttentionTensors

/// Few queries over many keys: the decoding kernel compared with the tiled one.
@Suite struct DecodeExactTests {
  struct Case: CustomStringConvertible, Sendable {
    var t: Int
    var s: Int
    var heads: Int
    var keyHeads: Int
    var d: Int
    var v: Int
    var dtype: DType
    var description: String { "\(t) by \(s), heads \(heads)/\(keyHeads), \(d)/\(v), \(dtype)" }
  }

  static let cases = [DType.float32, .bfloat16, .float16].flatMap { dtype in
    [
      Case(t: 1, s: 1, heads: 1, keyHeads: 1, d: 16, v: 16, dtype: dtype),
      Case(t: 1, s: 1300, heads: 8, keyHeads: 1, d: 64, v: 64, dtype: dtype),
      Case(t: 3, s: 515, heads: 4, keyHeads: 2, d: 40, v: 72, dtype: dtype),
      Case(t: 1, s: 0, heads: 2, keyHeads: 2, d: 8, v: 8, dtype: dtype),
    ]
  }

  @Test(arguments: cases) func agreesWithTheTiledKernel(_ item: Case) throws {
    var random = Philox(seed: 7, label: item.description)
    let b = 2
    func draw(_ shape: Shape) throws -> Tensor {
      try .normal(shape, standardDeviation: 2, using: &random, dtype: item.dtype)
    }
    let (q, k) = (
      try draw([b, item.t, item.heads, item.d]), try draw([b, item.s, item.keyHeads, item.d])
    )
    let v = try draw([b, item.s, item.keyHeads, item.v])
    let keep = try Tensor((0..<b * item.s).map { $0 % 5 != 1 }, [b, item.s])
    // Whole blocks without a key, in the first sequence before the remaining ones.
    let padding = try Tensor(
      (0..<b * item.s).map { $0 < item.s ? $0 >= item.s - 3 : $0 < item.s + 2 }, [b, item.s])
    let masks = [
      AttentionMask(), AttentionMask(isCausal: true, window: Window(left: 600, right: nil)),
      AttentionMask(keyMask: keep), AttentionMask(keyMask: padding),
    ]
    let sinks = try Tensor.normal([item.heads], using: &random)
    for mask in masks {
      for similarity in [Similarity.dotProduct(), .cosine(scale: .number(5), groups: 2)] {
        for terms in [ScoreTerms(), ScoreTerms(alibi: .standard, sinks: sinks)] {
          func run(_ kernel: String) throws -> AttentionResult {
            try attention(
              queries: q, keys: k, values: v, similarity: similarity, mask: mask, terms: terms,
              kernel: kernel)
          }
          let (one, other) = (try run("cpu.decode"), try run("cpu.tiled"))
          // Both round a float32 result once: near the midpoint of two numbers they may differ by one unit in
          // the last place.
          let bound =
            switch item.dtype {
            case .bfloat16: 0x1p-7
            case .float16: 0x1p-10
            default: 1e-5
            }
          for (x, y) in zip(
            try one.output.elements(as: Double.self), try other.output.elements(as: Double.self))
          {
            #expect(abs(x - y) <= bound * max(1, abs(y)), "\(item) \(mask) \(similarity)")
          }
          for (x, y) in zip(
            try one.logSumExp.elements(as: Double.self),
            try other.logSumExp.elements(as: Double.self))
          {
            #expect(x == y || abs(x - y) <= 1e-5 * max(1, abs(y)))
          }
        }
      }
    }
  }
}
