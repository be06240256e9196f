import AttentionTensors
import Testing

@testable import AttentionOperators

/// The choice of tiles, without a GPU.
@Suite struct LinearTileTests {
  private static func problem(
    _ update: LinearProblem.Update, _ keyDimension: Int, _ valueDimension: Int
  ) -> LinearProblem {
    LinearProblem(
      tokens: RecurrenceTokens(
        batch: 1, length: 100, sequences: 1, isPacked: false, dtype: .float32,
        hasInitialState: false, needsGradient: true),
      heads: 1, valueHeads: 1, keyDimension: keyDimension, valueDimension: valueDimension,
      decay: .perToken, update: update, normalizesQueriesAndKeys: false)
  }

  /// Shared memory per block: A100, RTX 30 and 40, H100 and B200.
  @Test(arguments: [163, 99, 227]) func tilesFit(kibibytes: Int) {
    for update in DeviceLinearTests.updates {
      for (k, v) in [(1, 1), (32, 16), (33, 17), (64, 64), (128, 128), (129, 65), (256, 256)] {
        for pass in [LinearTile.Pass.forward, .backward] {
          let words = "\(update) \(k) \(v) \(pass)"
          let tile = LinearTile(Self.problem(update, k, v), pass, sharedBytes: kibibytes << 10)
          guard let tile else {
            // Only the longest keys do not fit, and only on small devices.
            #expect(k > (update == .lowRank ? 64 : 128) && kibibytes < 227, "\(words)")
            continue
          }
          #expect(tile.sharedBytes <= kibibytes << 10, "\(words)")
          #expect(tile.keys >= k && tile.keys % 32 == 0, "\(words)")
          #expect(tile.columns * tile.slices >= v, "\(words)")
          #expect(tile.columns * (tile.slices - 1) < v, "\(words)")
        }
      }
    }
  }

  @Test func tilesAreAsWideAsTheValuesAndTheRoom() throws {
    func columns(_ k: Int, _ v: Int, _ pass: LinearTile.Pass, _ bytes: Int = 227 << 10) -> Int? {
      LinearTile(Self.problem(.lowRank, k, v), pass, sharedBytes: bytes)?.columns
    }
    #expect(columns(64, 128, .forward) == 32)
    #expect(columns(64, 128, .backward) == 64)
    #expect(columns(64, 16, .forward) == 16)
    #expect(columns(64, 33, .backward) == 64)
    #expect(columns(64, 32, .backward) == 32)
    #expect(columns(256, 128, .backward) == 16)
    #expect(columns(257, 128, .forward) == nil)
    #expect(columns(256, 128, .forward, 64 << 10) == nil)
  }
}
