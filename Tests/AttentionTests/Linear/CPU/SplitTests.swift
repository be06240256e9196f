import AttentionTensors
import Testing

@testable import AttentionOperators

@Suite struct LinearSplitTests {
  static let cases: [LinearCase] = LinearChunkedTests.decays.flatMap { decay in
    [LinearProblem.Update.additive, .additiveBefore].map { update in
      LinearCase(
        batch: 1, length: 1100, heads: 1, valueHeads: 2, keyDimension: 9, valueDimension: 6,
        decay: decay, update: update, normalizes: decay == .perToken)
    } + [
      // Pieces that end with a sequence, and sequences shorter than a piece.
      LinearCase(
        length: 1700, heads: 1, valueHeads: 1, keyDimension: 6, valueDimension: 5, decay: decay,
        update: .additiveBefore, packed: [0, 0, 512, 530, 1700]),
      LinearCase(
        batch: 2, length: 1025, heads: 1, valueHeads: 1, keyDimension: 8, valueDimension: 7,
        dtype: .bfloat16, decay: decay, hasInitialState: false),
    ]
      + ErasingTests.updates.map { update in
        LinearCase(
          batch: 1, length: 1100, heads: 1, valueHeads: 2, keyDimension: 9, valueDimension: 18,
          decay: decay, update: update, packed: update == .delta ? [0, 0, 513, 1100] : nil,
          hasInitialState: update != .lowRank, normalizes: true)
      }
  }

  @Test(arguments: cases) func agreesWithReference(_ linearCase: LinearCase) throws {
    try expectAgreement("cpu.split", linearCase)
  }

  private func explain(
    length: Int, heads: Int, kernel: String? = nil
  ) throws -> Explanation {
    let tokens = try Tensor.zeros([1, 1, 1, 64]).expanded(to: [1, length, heads, 64])
    return try OperatorCall<LinearAttention>(
      queries: tokens, keys: tokens, values: tokens, kernel: kernel
    ).explanation(needsGradient: true)
  }

  /// Chosen only where threads would otherwise be idle.
  @Test func isChosenForFewHeadsAndManyTokens() throws {
    let objections = [(500, 1), (4096, 64)].map { length, heads in
      try? explain(length: length, heads: heads).candidates.first { $0.kernel == "cpu.split" }?
        .objection?.reason
    }
    #expect(
      objections == [
        "a sequence of 500 tokens is one piece: pieces have 512",
        "64 sequences and heads are enough pieces of work uncut",
      ])
    #expect(
      try explain(length: 65536, heads: 1, kernel: "cpu.split").description.hasSuffix(
        "cpu.split, as requested: 1 sequences and heads cut into 64 pieces of 1024 tokens"))
    let threads = MachineRates(operationsPerSecond: 1e12, bytesPerSecond: 1e11, threads: 8)
    func seconds(_ kernel: any LinearKernel, heads: Int) throws -> Double {
      let tokens = try Tensor.zeros([1, 1, 1, 64]).expanded(to: [1, 65536, heads, 64])
      let call = try OperatorCall<LinearAttention>(queries: tokens, keys: tokens, values: tokens)
      return kernel.cost(of: call.problem).seconds(on: threads)
    }
    let whole = ChunkedKernel(erases: false)
    #expect(try seconds(SplitKernel(), heads: 1) < 0.3 * seconds(whole, heads: 1))
    #expect(try seconds(SplitKernel(), heads: 8) > seconds(whole, heads: 8))
  }
}
