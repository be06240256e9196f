import AttentionCLibrary
import TestSupport
import Testing

@testable import AttentionTensors

@Suite struct AtomicFileTests {
  let folder = TemporaryFolder()

  @Test func replacesTheFileAndKeepsItsPermissions() throws {
    let path = try folder.write("a", "old")
    chmod(path, 0o640)
    try AtomicFile.write("new", to: path)
    #expect(folder.bytes("a") == Array("new".utf8))
    var status = stat()
    #expect(stat(path, &status) == 0)
    #expect(status.st_mode & 0o7777 == 0o640)
    #expect(folder.names == ["a"])
  }

  @Test func failingHalfwayLeavesTheOldFileAndNothingElse() throws {
    struct Stop: Error {}
    let path = try folder.write("a", "old")
    #expect(throws: Stop.self) {
      try AtomicFile.write(to: path) { writer in
        try writer.write("half")
        throw Stop()
      }
    }
    #expect(folder.bytes("a") == Array("old".utf8))
    #expect(folder.names == ["a"])
  }

  @Test func followsSymbolicLinks() throws {
    try folder.write("real", "")
    symlink(folder.path("real"), folder.path("link"))
    try AtomicFile.write("text", to: folder.path("link"))
    #expect(folder.bytes("real") == Array("text".utf8))
  }

  @Test func aFullDeviceIsAnErrorThatNamesPathAndReason() {
    #expect(
      throws: TensorError.file(
        path: "/dev/full", reason: "cannot be written: No space left on device")
    ) { try AtomicFile.write("text", to: "/dev/full") }
  }

  @Test func devicesAreWrittenInPlace() throws {
    try AtomicFile.write("text", to: "/dev/null")
    var status = stat()
    #expect(stat("/dev/null", &status) == 0)
    #expect(status.st_mode & S_IFMT == S_IFCHR)
  }

  @Test func foldersAndMissingFoldersAreErrors() {
    #expect(
      throws: TensorError.file(path: folder.path, reason: "is a folder; it must be a file")
    ) { try AtomicFile.write("text", to: folder.path) }
    let missing = folder.path("missing/file")
    #expect(
      throws: TensorError.file(
        path: missing, reason: "cannot be written: No such file or directory")
    ) { try AtomicFile.write("text", to: missing) }
  }

  @Test func theLongestNameWorks() throws {
    let name = String(repeating: "n", count: Int(NAME_MAX))
    try AtomicFile.write("text", to: folder.path(name))
    #expect(folder.names == [name])
  }

  /// A link that another user placed in a shared folder is not followed.
  @Test(.enabled(if: geteuid() == 0)) func foreignLinksInSharedFoldersAreRefused() throws {
    try folder.write("mine", "kept")
    mkdir(folder.path("shared"), 0o700)
    symlink(folder.path("mine"), folder.path("shared/link"))
    lchown(folder.path("shared/link"), 1, 1)
    try AtomicFile.write("first", to: folder.path("shared/link"))
    chmod(folder.path("shared"), 0o1777)
    let error = #expect(throws: TensorError.self) {
      try AtomicFile.write("second", to: folder.path("shared/link"))
    }
    #expect(error?.description.contains("symbolic link of user 1") == true)
    #expect(folder.bytes("mine") == Array("first".utf8))
    lchown(folder.path("shared/link"), 0, 0)
    try AtomicFile.write("third", to: folder.path("shared/link"))
    #expect(folder.bytes("mine") == Array("third".utf8))
  }

  @Test func aPipeThatNobodyReadsIsNotWaitedFor() throws {
    mkfifo(folder.path("pipe"), 0o600)
    #expect(
      throws: TensorError.file(path: folder.path("pipe"), reason: "is a pipe that nobody reads")
    ) { try AtomicFile.write("text", to: folder.path("pipe")) }
    let reader = open(folder.path("pipe"), O_RDONLY | O_NONBLOCK)
    defer { close(reader) }
    try AtomicFile.write("text", to: folder.path("pipe"))
    var bytes = [UInt8](repeating: 0, count: 8)
    #expect(read(reader, &bytes, 8) == 4)
    #expect(Array(bytes.prefix(4)) == Array("text".utf8))
  }
}
