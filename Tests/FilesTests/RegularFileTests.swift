import AttentionCLibrary
import TestSupport
import Testing

@testable import AttentionFiles

@Suite struct RegularFileTests {
  private let folder = TemporaryFolder()

  private func problem(_ body: () throws -> Void) -> String {
    do { try body() } catch { return (error as? FileProblem)?.reason ?? "\(error)" }
    return "none"
  }

  @Test func bytesAreThoseOfTheFile() throws {
    let file = try RegularFile(path: folder.write("a", [1, 2, 3, 4, 5]))
    #expect(file.size == 5)
    #expect(try file.bytes(1..<4) == [2, 3, 4])
    #expect(try file.bytes(atMost: 5) == [1, 2, 3, 4, 5])
    #expect(problem { _ = try file.bytes(atMost: 4) }.contains("at most 4"))
  }

  @Test func aFileShortenedMeanwhileIsAProblem() throws {
    let path = try folder.write("a", [UInt8](repeating: 1, count: 100_000))
    let file = try RegularFile(path: path)
    #expect(truncate(path, 10) == 0)
    #expect(problem { _ = try file.bytes(0..<100_000) }.contains("shortened"))
    #expect(try file.bytes(0..<10) == [UInt8](repeating: 1, count: 10))
  }

  /// Pipes, folders, and sparse files larger than the memory.
  @Test func whatIsNoFileIsRefused() throws {
    mkfifo(folder.path("pipe"), 0o600)
    #expect(problem { _ = try RegularFile(path: folder.path("pipe")) }.contains("regular"))
    #expect(problem { _ = try RegularFile(path: folder.path) }.contains("regular"))
    #expect(problem { _ = try RegularFile(path: folder.path("none")) }.contains("No such file"))
    #expect(problem { _ = try RegularFile(path: "a\0b") }.contains("zero byte"))
    try folder.write("sparse", [])
    truncate(folder.path("sparse"), 1 << 40)
    let sparse = try RegularFile(path: folder.path("sparse"))
    #expect(problem { _ = try sparse.bytes(atMost: 1 << 20) }.contains("1099511627776"))
  }

  @Test func namesThatAreNotUTF8AreNames() throws {
    let name: [UInt8] = [0x61, 0xFF, 0x62]
    let path = Array(folder.path.utf8) + [UInt8(ascii: "/")] + name
    let descriptor = open(path.map(CChar.init(bitPattern:)) + [0], O_WRONLY | O_CREAT, 0o600)
    #expect(write(descriptor, "abc", 3) == 3)
    close(descriptor)
    #expect(try Folder.names(in: Array(folder.path.utf8)) == [name])
    #expect(Folder.contents(folder.path).isEmpty)
    #expect(try RegularFile(path: path).bytes(atMost: 3) == Array("abc".utf8))
  }
}
