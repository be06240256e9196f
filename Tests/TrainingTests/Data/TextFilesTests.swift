import AttentionCLibrary
import TestSupport
import Testing

@testable import AttentionTraining

@Suite struct TextFilesTests {
  private func names(_ documents: [Document], below folder: TemporaryFolder) -> [String] {
    documents.map { String($0.name.dropFirst(folder.path.count + 1)) }
  }

  @Test func foldersAreReadInOrderWithoutHiddenEmptyAndRepeatedFiles() throws {
    let folder = TemporaryFolder()
    try folder.write("text/b.swift", "let b = 1")
    try folder.write("text/a/z.md", "# z")
    try folder.write("text/a.swift", "let a = 1")
    try folder.write("text/a/again.swift", "let b = 1")
    try folder.write("text/empty.swift", "")
    try folder.write("text/.build/c.swift", "let c = 1")
    try folder.write("text/.hidden.swift", "let d = 1")
    try folder.write("text/e.txt", "other")
    try folder.write("text/swift", "no extension")
    symlink(folder.path + "/text", folder.path + "/text/circle")
    symlink(folder.path + "/nowhere", folder.path + "/text/broken.swift")

    let documents = try TextFiles.documents(
      at: ["text"], extensions: ["swift", "md"], relativeTo: folder.path)
    #expect(
      names(documents, below: folder) == ["text/a/again.swift", "text/a/z.md", "text/a.swift"])
    #expect(documents[1].bytes == Array("# z".utf8))

    let unnamed = try TextFiles.documents(
      at: ["text"], extensions: ["", "txt"], relativeTo: folder.path)
    #expect(names(unnamed, below: folder) == ["text/e.txt", "text/swift"])

    // A named file needs no extension, and an absolute path no folder.
    let named = try TextFiles.documents(
      at: [folder.path + "/text/e.txt", "text"], extensions: ["md"], relativeTo: folder.path)
    #expect(names(named, below: folder) == ["text/e.txt", "text/a/z.md"])
  }

  /// A path is bytes: one that is not UTF-8 is read like the others, and shown as far as possible.
  @Test func namesNeedNotBeUTF8() throws {
    let folder = TemporaryFolder()
    try folder.write("text/a.md", "first")
    for name in [[0x62, 0xFF] + Array(".md".utf8), [0xFF, 0xFE]] as [[UInt8]] {
      let path = Array((folder.path + "/text/").utf8) + name
      let file = try #require(fopen(path.map(CChar.init(bitPattern:)) + [0], "w"))
      fputs("of other bytes", file)
      fclose(file)
    }
    let documents = try TextFiles.documents(
      at: ["text"], extensions: ["md"], relativeTo: folder.path)
    #expect(names(documents, below: folder) == ["text/a.md", "text/b\u{FFFD}.md"])
    #expect(documents[1].bytes == Array("of other bytes".utf8))
  }

  /// A pipe with a matching name is skipped in a folder, and an error if it is named.
  @Test func pipesAreNotWaitedFor() throws {
    let folder = TemporaryFolder()
    try folder.write("text/a.md", "first")
    mkfifo(folder.path("text/b.md"), 0o600)
    let documents = try TextFiles.documents(
      at: ["text"], extensions: ["md"], relativeTo: folder.path)
    #expect(names(documents, below: folder) == ["text/a.md"])
    #expect(throws: TrainingError.self) {
      try TextFiles.documents(at: ["text/b.md"], extensions: [], relativeTo: folder.path)
    }
  }

  @Test func whatCannotBeReadIsNamed() throws {
    let folder = TemporaryFolder()
    let empty = try folder.write("empty.md", "")
    try folder.write("only/text.txt", "text")
    func error(_ paths: [String]) -> TrainingError? {
      #expect(throws: TrainingError.self) {
        _ = try TextFiles.documents(at: paths, extensions: ["md"], relativeTo: folder.path)
      }
    }
    #expect(
      error(["missing"])
        == .text(
          path: folder.path + "/missing", reason: "No such file or directory"))
    #expect(error(["empty.md"]) == .text(path: empty, reason: "the file is empty"))
    #expect(error(["only"]) == .text(path: "only", reason: "no text in files that end in .md"))
    #expect(
      error(["/dev/null"])
        == .text(
          path: "/dev/null", reason: "neither a file nor a folder"))
  }
}
