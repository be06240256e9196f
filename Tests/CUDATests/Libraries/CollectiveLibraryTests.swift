import Testing

@testable import AttentionCUDA

@Suite struct CollectiveLibraryTests {
  @Test(arguments: [(22703, "2.27.3"), (22304, "2.23.4"), (20901, "2.9.1"), (2804, "2.8.4")])
  func versionsOfBothForms(number: Int, text: String) {
    #expect(CollectiveLibrary.version(number) == text)
  }

  private static let file = LibrarySearch.system.files(for: .collectives).first

  @Test(.enabled(if: file != nil, "no NCCL here; Scripts/cuda-emulator makes a stand-in"))
  func theFirstFileIsOpened() throws {
    let library = try CollectiveLibrary.shared()
    #expect(library.path == Self.file)
    #expect(library.version.hasPrefix("2."))
  }
}
