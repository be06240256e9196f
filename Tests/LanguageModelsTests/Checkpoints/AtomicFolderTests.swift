import Glibc
import Tensors
import TestSupport
import Testing

@testable import LanguageModels

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

  @Test func aFolderThatCannotBeMadeIsNamed() throws {
    let folder = TemporaryFolder()
    let file = try folder.write("file", "x")
    let error = #expect(throws: TensorError.self) {
      try AtomicFolder.write(to: file + "/a") { _ in }
    }
    guard case .file(let path, _)? = error else { return }
    #expect(path.hasPrefix(file))
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
