import AttentionCLibrary
import AttentionTensors
import TestSupport
import Testing

@testable import AttentionLanguageModels

@Suite struct AtomicFolderTests {
  private struct Refusal: Error {}

  @Test func aFolderAppearsWholeAndReplacesAnOlderOne() throws {
    let folder = TemporaryFolder()
    try AtomicFolder.write(to: folder.path + "/a") { temporary in
      #expect(access(folder.path + "/a", F_OK) != 0)
      #expect(temporary.hasPrefix(folder.path + "/."))
      try write("1", to: temporary + "/one")
    }
    #expect(try folder.contents() == ["a/one": [49]])
    try AtomicFolder.write(to: folder.path + "/a") { try write("2", to: $0 + "/two") }
    #expect(try folder.contents() == ["a/two": [50]])
  }

  /// The error for a folder that cannot be created gives the reason and names the obstacle.
  @Test func reasonsAreWords() throws {
    let folder = TemporaryFolder()
    let file = try folder.write("file", "x")
    #expect(
      throws: TensorError.file(
        path: file + "/a/b", reason: "cannot be made: \(file) is not a folder")
    ) { try AtomicFolder.create(file + "/a/b") }
    let long = folder.path + "/" + String(repeating: "n", count: Int(NAME_MAX) + 1)
    #expect(
      throws: TensorError.file(path: long, reason: "cannot be made: File name too long")
    ) { try AtomicFolder.create(long) }
  }

  @Test func afterAFailureEverythingIsAsBefore() throws {
    let folder = TemporaryFolder()
    try AtomicFolder.write(to: folder.path + "/a") { try write("1", to: $0 + "/one") }
    #expect(throws: Refusal.self) {
      try AtomicFolder.write(to: folder.path + "/a") {
        try write("2", to: $0 + "/one")
        throw Refusal()
      }
    }
    #expect(try folder.contents() == ["a/one": [49]])
  }

  @Test func leftoversOfAKilledRunAreRemoved() throws {
    let folder = TemporaryFolder()
    try folder.write(".unfinished-a/half", "x")
    try folder.write("kept/file", "x")
    try AtomicFolder.write(to: folder.path + "/a") { try write("1", to: $0 + "/one") }
    #expect(try folder.contents().keys.sorted() == ["a/one", "kept/file"])
    try folder.write(".unfinished-b/half", "x")
    try AtomicFolder.removeUnfinished(in: folder.path)
    #expect(try folder.contents().keys.sorted() == ["a/one", "kept/file"])
  }

  @Test func whatIsRemovedIsNotFollowedAndNothingIsLeft() throws {
    let folder = TemporaryFolder()
    try folder.write("kept/file", "x")
    try folder.write("a/one", "1")
    symlink(folder.path("kept"), folder.path("a/link"))
    symlink(folder.path("kept"), folder.path("b"))
    symlink(folder.path("nowhere"), folder.path("c"))
    for name in ["a", "b", "c", "absent"] {
      try AtomicFolder.removeIfThere(folder.path(name) + (name == "a" ? "/" : ""))
    }
    #expect(folder.names == ["kept"])
    #expect(folder.bytes("kept/file") == [120])
    // What a process killed during removal left.
    try folder.write(".removed-a/half", "x")
    try folder.write("a/one", "1")
    try AtomicFolder.removeIfThere(folder.path("a"))
    #expect(folder.names == ["kept"])
    try folder.write(".removed-b/half", "x")
    try AtomicFolder.removeUnfinished(in: folder.path)
    #expect(folder.names == ["kept"])
    try AtomicFolder.removeUnfinished(in: folder.path("absent"))
  }

  @Test func aLinkInThePlaceOfTheUnfinishedFolderIsReplaced() throws {
    let folder = TemporaryFolder()
    try folder.write("kept/file", "x")
    for target in ["kept", "nowhere"] {
      symlink(folder.path(target), folder.path(".unfinished-a"))
      try AtomicFolder.write(to: folder.path("a")) { try write("1", to: $0 + "/one") }
      #expect(try folder.contents() == ["a/one": [49], "kept/file": [120]])
      symlink(folder.path(target), folder.path(".unfinished-b"))
      try AtomicFolder.removeUnfinished(in: folder.path)
      #expect(folder.names == ["a", "kept"])
    }
  }

  /// Names that are not UTF-8 do not hide others.
  @Test func namesAreListed() throws {
    let folder = TemporaryFolder()
    try folder.write("a", "")
    try folder.write(".b", "")
    let odd: [CChar] = Array((folder.path + "/").utf8CString.dropLast()) + [-1, -2, 0]
    #expect(close(open(odd, O_CREAT | O_WRONLY, 0o600)) == 0)
    #expect(try AtomicFolder.names(in: folder.path).sorted() == [".b", "a"])
    #expect(try AtomicFolder.names(in: folder.path("absent")) == [])
    #expect(throws: TensorError.self) { try AtomicFolder.names(in: folder.path("a")) }
  }

  @Test func aFolderThatCannotBeMadeIsNamed() throws {
    let folder = TemporaryFolder()
    let file = try folder.write("file", "x")
    let error = #expect(throws: TensorError.self) {
      try AtomicFolder.write(to: file + "/a") { _ in }
    }
    #expect(error == .file(path: file, reason: "cannot be made: \(file) is not a folder"))
  }

  @Test func aFileIsNotReplaced() throws {
    let folder = TemporaryFolder()
    let file = try folder.write("file", "x")
    #expect(throws: TensorError.self) { try AtomicFolder.write(to: file) { _ in } }
    #expect(try folder.contents() == ["file": [120]])
  }

  @Test func namesMayEndInSlashesAndMustBeNames() throws {
    let folder = TemporaryFolder()
    try AtomicFolder.write(to: folder.path + "/new/a//") { try write("1", to: $0 + "/one") }
    #expect(try folder.contents() == ["new/a/one": [49]])
    for wrong in ["", "/", folder.path + "/..", "."] {
      #expect(throws: TensorError.self, "\(wrong)") { try AtomicFolder.write(to: wrong) { _ in } }
    }
  }

  private func write(_ text: String, to path: String) throws {
    try AtomicFile.write(text, to: path)
  }
}
