import AttentionTensors
import Testing

@testable import AttentionTraining

@Suite struct TensorPiecesTests {
  /// The tensor of a block, as kernels look it up: the last whose first block does not follow it.
  private func tensor(of block: Int, _ pieces: TensorPieces) -> Int? {
    pieces.firstBlocks.lastIndex { $0 <= block }
  }

  @Test func everyElementHasOneBlock() {
    let length = TensorPieces.length
    let counts = [0, 1, length, 0, length + 1, 3 * length - 1, 0]
    let pieces = TensorPieces(counts: counts)
    #expect(pieces.blocks == 1 + 1 + 2 + 3)
    var covered = counts.map { _ in 0 }
    for block in 0..<pieces.blocks {
      guard let index = tensor(of: block, pieces) else {
        Issue.record("block \(block) has no tensor")
        continue
      }
      let start = (block - pieces.firstBlocks[index]) * length
      #expect(start < counts[index], "block \(block)")
      covered[index] += min(length, counts[index] - start)
    }
    #expect(covered == counts)
    #expect(TensorPieces(counts: []).blocks == 0)
  }

  @Test func packedTensorsAreApartAndAligned() throws {
    let counts = [3, 0, 64, 65, 1]
    let places = PackedPlaces(counts: counts)
    #expect(places.starts == [0, 64, 64, 128, 256])
    #expect(places.total == 320)
    let memory = try Tensor.range(places.total, dtype: .float32)
    let views = try places.views(of: memory, [[3, 1], [0], [8, 8], [65], []])
    #expect(views.map(\.shape) == [[3, 1], [0], [8, 8], [65], []])
    #expect(try views[2].elements(as: Float.self).first == 64)
    #expect(try views[3].elements(as: Float.self).last == 128 + 64)
    #expect(try views[4].item() == 256)
  }
}
