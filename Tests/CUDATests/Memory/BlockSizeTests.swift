import Testing

@testable import AttentionCUDA

@Suite struct BlockSizeTests {
  @Test func blocksAreLittleLargerThanAsked() {
    for bytes in (0...5000).map({ $0 * 7 }) + [1 << 20, (1 << 20) + 1, 1 << 57] {
      let size = BlockSize(atLeast: bytes)
      #expect(size.bytes >= bytes && size.bytes % BlockSize.alignment == 0, "\(bytes)")
      #expect(bytes < 256 || size.bytes <= bytes + max(64, bytes / 4), "\(bytes): \(size)")
      #expect(BlockSize(atLeast: size.bytes) == size, "\(bytes)")
      #expect(BlockSize(atLeast: size.bytes + 1).number == size.number + 1, "\(bytes)")
      #expect(size.number < BlockSize.count)
    }
  }
}
