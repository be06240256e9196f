import AttentionTensors
import Testing

@testable import AttentionOperators

@Suite struct LinearChunkedTests {
  static let decays = [LinearProblem.Decay.none, .perHead, .perToken, .perChannel]

  /// Every decay with every other option, at lengths around the chunk and the block.
  static let cases: [LinearCase] = {
    var random = SplitMix(state: UInt64.random(in: 0..<1000))
    var cases: [LinearCase] = []
    for decay in decays {
      for length in [0, 1, 15, 63, 64, 65, 131] {
        cases.append(
          LinearCase(
            batch: 1, length: length, keyDimension: 8 + length % 11,
            valueDimension: 1 + length % 35,
            decay: decay, hasInitialState: length != 131, seed: random.next() % 1000))
      }
      for (heads, valueHeads) in [(1, 3), (2, 4)] {
        cases.append(
          LinearCase(
            length: 37, heads: heads, valueHeads: valueHeads, decay: decay,
            seed: random.next() % 1000))
      }
      for dtype in [DType.float16, .bfloat16] {
        cases.append(
          LinearCase(
            heads: 1, valueHeads: 2, dtype: dtype, decay: decay, normalizes: true,
            seed: random.next() % 1000))
      }
      for layout in [LinearCase.Layout.transposed, .wide] {
        cases.append(
          LinearCase(decay: decay, layout: layout, seed: random.next() % 1000))
      }
      for packed in [[0, 0, 70, 70, 71, 90, 90], [0], [0, 0]] {
        cases.append(
          LinearCase(
            length: packed.last ?? 0, decay: decay, packed: packed, normalizes: true,
            seed: random.next() % 1000))
      }
      for (length, packed) in [
        (0, nil), (1, nil), (64, nil), (65, nil), (131, nil), (90, [0, 0, 1, 70, 70, 90]),
      ] as [(Int, [Int]?)] {
        cases.append(
          LinearCase(
            length: length, heads: 1, decay: decay, update: .additiveBefore, packed: packed,
            hasInitialState: length != 65, normalizes: length != 131, seed: random.next() % 1000))
      }
      cases.append(
        LinearCase(
          length: 70, dtype: .bfloat16, decay: decay, update: .additiveBefore,
          seed: random.next() % 1000))
      for strongest in [0, -0.05] {
        cases.append(
          LinearCase(length: 100, decay: decay, strongest: strongest, seed: random.next() % 1000))
      }
    }
    cases.append(
      LinearCase(
        batch: 1, length: 66, heads: 1, valueHeads: 1, keyDimension: 256, valueDimension: 3,
        decay: .perChannel))
    cases.append(
      LinearCase(
        batch: 1, length: 66, heads: 1, valueHeads: 1, keyDimension: 1, valueDimension: 40,
        decay: .perChannel))
    return cases
  }()

  @Test(arguments: cases) func agreesWithReference(_ linearCase: LinearCase) throws {
    try expectAgreement("cpu.chunked", linearCase)
  }
}
