import Testing

@testable import Attention
@testable import Tensors

/// The number of threads decides who computes what, never what is computed.
@Suite(.serialized) struct ThreadIndependenceTests {
  @Test(arguments: [DType.float32, .bfloat16])
  func exactAttentionGivesTheSameBits(dtype: DType) throws {
    var random = Philox(seed: 5)
    func draw(_ heads: Int, _ width: Int) throws -> Tensor {
      try .normal([1, 700, heads, width], using: &random, dtype: dtype)
    }
    // One key/value head: the backward pass must split the keys to fill the threads.
    let (q, k, v, seed) = (try draw(2, 32), try draw(1, 32), try draw(1, 48), try draw(2, 48))
    let bias = try Tensor.normal([2, 1, 700], using: &random)
    let before = Threads.count
    defer { Threads.count = before }
    var results: [[[Float]]] = []
    for threads in [1, 2, 5] {
      Threads.count = threads
      let leaves = [q, k, v, bias].map { $0.tracked() }
      let result = try attention(
        queries: leaves[0], keys: leaves[1], values: leaves[2],
        mask: AttentionMask(isCausal: true), terms: ScoreTerms(bias: leaves[3]))
      let gradients = try result.output.gradients(of: leaves, seed: seed)
      results.append(
        try ([result.output, result.logSumExp] + gradients).map { try $0.elements(as: Float.self) })
    }
    #expect(results[0] == results[1] && results[0] == results[2])
  }
}
