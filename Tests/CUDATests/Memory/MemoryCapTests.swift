import Testing

@testable import AttentionCUDA

struct MemoryCapTests {
  @Test func numbersAndUnits() throws {
    #expect(try MemoryCap.bytes("") == nil)
    #expect(try MemoryCap.bytes("4096") == 4096)
    #expect(try MemoryCap.bytes("3KiB") == 3072)
    #expect(try MemoryCap.bytes("2MiB") == 2 << 20)
    #expect(try MemoryCap.bytes("20GiB") == 20 << 30)
  }

  @Test(arguments: ["0", "-1GiB", "GiB", "1.5GiB", "9000000000GiB", "4 GiB", "all"])
  func othersAreErrors(text: String) {
    #expect(throws: CUDAError.self) { try MemoryCap.bytes(text) }
  }
}
