import Tensors
import Testing

@testable import Attention

@Suite struct ErasingTests {
  static let updates: [LinearProblem.Update] = [.delta, .generalizedDelta, .lowRank]

  /// Every update and decay with every other option, at lengths around the chunk and the block.
  static let cases: [LinearCase] = {
    var random = SplitMix(state: 11)
    var cases: [LinearCase] = []
    func add(_ linearCase: LinearCase) {
      var seeded = linearCase
      seeded.seed = random.next() % 1000
      cases.append(seeded)
    }
    for update in updates {
      for decay in LinearChunkedTests.decays {
        let plain = LinearCase(
          length: 37, heads: 1, valueHeads: 2, keyDimension: 19, valueDimension: 33, decay: decay,
          update: update, normalizes: true)
        for length in [0, 1, 2, 15, 16, 17, 63, 64, 65, 131] {
          var one = plain
          (one.batch, one.length, one.hasInitialState) = (1, length, length != 131)
          (one.keyDimension, one.valueDimension) = (8 + length % 11, 1 + length % 35)
          add(one)
        }
        var grouped = plain
        (grouped.heads, grouped.valueHeads, grouped.layout) = (2, 4, .transposed)
        add(grouped)
        var half = plain
        (half.length, half.dtype, half.layout) = (
          70, decay == .perToken ? .float16 : .bfloat16, .wide
        )
        add(half)
        for packed in [[0, 0, 70, 70, 71, 90, 90], [0], [0, 0]] {
          var one = plain
          (one.length, one.packed) = (packed.last ?? 0, packed)
          add(one)
        }
        for strongest in [0, -0.05] {
          var one = plain
          (one.length, one.strongest) = (100, strongest)
          add(one)
        }
      }
      add(
        LinearCase(
          batch: 1, length: 66, heads: 1, valueHeads: 1, keyDimension: 256, valueDimension: 3,
          decay: .perChannel, update: update, normalizes: true))
      add(
        LinearCase(
          batch: 1, length: 66, heads: 1, valueHeads: 1, keyDimension: 2, valueDimension: 40,
          decay: .perChannel, update: update, normalizes: true))
    }
    return cases
  }()

  @Test(arguments: cases) func agreesWithReference(_ linearCase: LinearCase) throws {
    try expectAgreement("cpu.erasing", linearCase)
  }
}
