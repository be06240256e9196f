import Testing

@testable import AttentionCUDA

@Suite struct FreeBlocksTests {
  @Test func piecesComeBackBySize() throws {
    let blocks = FreeBlocks(isKeeping: true)
    let small = try #require(blocks.size(for: 1000))
    let large = try #require(blocks.size(for: 5000))
    #expect(blocks.take(small) == nil)
    #expect(blocks.keep(7, small) && blocks.keep(8, large))
    #expect(blocks.take(try #require(blocks.size(for: small.bytes))) == 7)
    #expect(blocks.take(small) == nil && blocks.take(large) == 8)
    #expect(blocks.keep(9, small))
    #expect(blocks.removeAll() == [9] && blocks.removeAll().isEmpty)
  }

  @Test func littleIsKept() throws {
    let blocks = FreeBlocks(isKeeping: true)
    #expect(blocks.size(for: FreeBlocks.largest + 1) == nil)
    let size = try #require(blocks.size(for: FreeBlocks.largest))
    let most = FreeBlocks.mostBytes / size.bytes
    for address in 0..<most { #expect(blocks.keep(UInt64(address), size)) }
    #expect(!blocks.keep(UInt64(most), size))
    #expect(FreeBlocks(isKeeping: false).size(for: 1) == nil)
  }
}
