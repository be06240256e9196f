import AttentionTensors
import TestSupport
import Testing

@testable import AttentionOperators

/// Every size gives a verdict or an error, and a verdict takes no memory for its tensors.
@Suite(.serialized) struct SizeLimitTests {
  private static let extents = [
    0, 1, 2, 3, 8, 64, 1000, 1 << 16, 1 << 20, 1 << 24, (1 << 24) + 1, 1 << 27, 1 << 30, 1 << 31,
    1 << 40,
    1 << 47, 1 << 48, (1 << 48) + 1, 1 << 58, 1 << 60, 1 << 61, 1 << 62,
  ]

  private struct Draw {
    var generator = Philox(seed: 0, label: "extents")

    mutating func extent() -> Int { extents[generator.next(below: extents.count)] }
    mutating func small() -> Int { [1, 2, 4][generator.next(below: 3)] }
    mutating func either(_ small: Int) -> Int {
      generator.next(below: 3) == 0 ? extent() : small
    }
    mutating func flag() -> Bool { generator.next(below: 2) == 0 }
  }

  private static func placeholder(_ shape: Shape) throws -> Tensor {
    try .placeholder(shape, dtype: .float32)
  }

  /// Fails unless `body` returns or throws one of our errors, and holds little memory.
  private func expectAnswer(_ what: String, _ body: () throws -> Void) {
    // Concurrent tests can only add to what is held: the least of several attempts counts.
    var held = Int.max
    for _ in 0..<5 where held >= 16 << 20 {
      let before = MemoryPool.resetPeak()
      do { try body() } catch {
        let isOurs = error is AttentionError || error is TensorError
        #expect(isOurs && isPresentable(error), "\(what): \(error)")
      }
      held = min(held, MemoryPool.peakBytes - before)
    }
    #expect(held < 16 << 20, "\(what)")
  }

  @Test func exactAttention() {
    var draw = Draw()
    for round in 0..<4000 {
      let (b, t, s) = (draw.either(2), draw.either(7), draw.either(9))
      let (h, g, k, v) = (draw.either(4), draw.either(2), draw.either(8), draw.either(8))
      let (window, causal, gradient) = (draw.flag(), draw.flag(), draw.flag())
      let (left, right) = (draw.extent(), draw.extent())
      let terms = (draw.flag(), draw.flag(), draw.flag())
      expectAnswer("round \(round): \([b, t, s, h, g, k, v])") {
        _ = try OperatorCall<ExactAttention>(
          queries: Self.placeholder([b, t, h, k]), keys: Self.placeholder([b, s, g, k]),
          values: Self.placeholder([b, s, g, v]),
          mask: AttentionMask(
            isCausal: causal, window: window ? Window(left: left, right: right) : nil),
          terms: ScoreTerms(
            alibi: terms.0 ? .standard : nil,
            bias: terms.1 ? Self.placeholder([1, h, t, s]) : nil,
            logitDecay: terms.2 && t == s ? Self.placeholder([b, t, h]) : nil,
            sinks: terms.2 ? Self.placeholder([h]) : nil)
        ).explanation(needsGradient: gradient)
      }
    }
  }

  @Test func linearAttention() {
    var draw = Draw()
    for round in 0..<4000 {
      let (b, t, h, group) = (draw.either(2), draw.either(7), draw.either(2), draw.small())
      let (k, v, decay, update) = (draw.either(8), draw.either(8), draw.flag(), draw.flag())
      let gradient = draw.flag()
      let hv = h.multipliedReportingOverflow(by: group).partialValue
      guard hv >= 0 else { continue }
      expectAnswer("round \(round): \([b, t, h, hv, k, v])") {
        _ = try OperatorCall<LinearAttention>(
          queries: Self.placeholder([b, t, h, k]), keys: Self.placeholder([b, t, h, k]),
          values: Self.placeholder([b, t, hv, v]),
          decay: decay ? Self.placeholder([b, t, hv, k]) : nil,
          update: update ? .delta(beta: Self.placeholder([b, t, hv])) : .additive
        ).explanation(needsGradient: gradient)
      }
    }
  }

  @Test func scans() {
    var draw = Draw()
    for round in 0..<4000 {
      let (b, t, d, s) = (draw.either(2), draw.either(7), draw.either(8), draw.either(4))
      let gradient = draw.flag()
      expectAnswer("round \(round): \([b, t, d])") {
        let x = try Self.placeholder([b, t, d])
        _ = try OperatorCall<GatedScan>(inputs: x, decay: x).explanation(needsGradient: gradient)
      }
      expectAnswer("round \(round): \([b, t, d, s])") {
        let x = try Self.placeholder([b, t, d])
        let rows = try Self.placeholder([b, t, s])
        _ = try OperatorCall<SelectiveScan>(
          inputs: x, step: x, stateMatrix: Self.placeholder([d, s]), inputMatrix: rows,
          outputMatrix: rows
        ).explanation(needsGradient: gradient)
      }
    }
  }

  @Test func manyHeadsAreRefused() throws {
    let q = try Self.placeholder([1, 0, 1 << 40, 8])
    let error = #expect(throws: AttentionError.self) {
      try OperatorCall<ExactAttention>(queries: q, keys: q, values: q).explanation()
    }
    #expect(
      error?.description == "queries is of 1099511627776 heads; it must be of at most 1048576")
    #expect(throws: AttentionError.self) {
      try OperatorCall<LinearAttention>(queries: q, keys: q, values: q).explanation(
        needsGradient: false)
    }
    let empty = try Tensor.zeros([1, 0, 1 << 40, 8])
    #expect(throws: AttentionError.self) {
      try attention(queries: empty, keys: empty, values: empty)
    }
  }

  /// The output combines axes of different inputs, each of them small or empty.
  @Test func resultsLargerThanTheMemoryAreRefused() throws {
    let error = #expect(throws: TensorError.self) {
      try attention(
        queries: .zeros([1, 1 << 20, 1, 8]), keys: .zeros([1, 0, 1, 8]),
        values: .zeros([1, 0, 1, 1 << 24]))
    }
    #expect(
      error?.description.contains("64.0 TiB requested") == true, "\(String(describing: error))")
    #expect(throws: AttentionError.self) {
      try OperatorCall<ExactAttention>(
        queries: Self.placeholder([1, 1 << 40, 1, 8]), keys: Self.placeholder([1, 1, 1, 8]),
        values: Self.placeholder([1, 1, 1, 1 << 24])
      ).explanation()
    }
  }

  @Test func placeholdersAreNotRead() throws {
    let x = try Self.placeholder([2, 3])
    #expect(throws: TensorError.self) { try x.elements(as: Float.self) }
    #expect(throws: TensorError.self) { try x + 1 }
    #expect(throws: TensorError.self) { try x.matmul(x.transposed()) }
    #expect(try x.transposed().contiguous().cast(to: .bfloat16).isPlaceholder)
  }
}
