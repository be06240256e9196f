import Dispatch
import Glibc
import Synchronization
import TestSupport
import Testing

@testable import CUDA

@Suite struct KernelCacheTests {
  private let folder = TemporaryFolder()
  private var cache: KernelCache { KernelCache(folder: folder.path("kernels")) }

  private static let key = KernelKey(
    source: KernelSource(
      main: .init(name: "a.cu", text: "x"), headers: [.init(name: "a.cuh", text: "y")]),
    options: ["-DA=1", "-DB=2"], architecture: "sm_90", compiler: "13.0")

  private func entryName() throws -> String {
    "kernels/" + (try #require(cache.entries.first)).name
  }

  @Test func compilesOnce() throws {
    var compilations = 0
    for _ in 0..<3 {
      let code = try cache.code(for: Self.key) {
        compilations += 1
        return [7, 8, 9]
      }
      #expect(code == [7, 8, 9])
    }
    #expect(compilations == 1)
    #expect(cache.entries.count == 1)
  }

  /// Whatever differs, the machine code is another's.
  @Test func everyPartOfTheKeyCounts() {
    let key = Self.key
    var keys = [key]
    for change: (inout KernelKey) -> Void in [
      { $0.source.main.text += " " }, { $0.source.main.name += "x" },
      { $0.source.headers[0].text = "" }, { $0.source.headers = [] },
      { $0.options.swapAt(0, 1) }, { $0.options = ["-DA=1-DB=2"] }, { $0.options.append("") },
      { $0.architecture = "sm_80" }, { $0.compiler = "12.9" },
      {
        // The same characters, divided in another place.
        $0.source.main.name = "a.cux"
        $0.source.main.text = ""
      },
    ] {
      var other = key
      change(&other)
      keys.append(other)
    }
    #expect(Set(keys.map(\.hash)).count == keys.count)
  }

  /// Entries that are cut off, changed, empty, or another key's are compiled again.
  @Test(arguments: ["cut", "changed", "empty", "headless", "foreign"])
  func whatIsNotWhatItSaysIsCompiledAgain(damage: String) throws {
    let code: [UInt8] = (0..<200).map { $0 }
    _ = try cache.code(for: Self.key) { code }
    let name = try entryName()
    var bytes = folder.bytes(name)
    switch damage {
    case "cut": bytes.removeLast(50)
    case "changed": bytes[bytes.count - 10] ^= 1
    case "empty": bytes = []
    case "headless": bytes = code
    default:
      var other = Self.key
      other.architecture = "sm_80"
      _ = try cache.code(for: other) { code }
      let foreign = try #require(cache.entries.first { "kernels/\($0.name)" != name })
      bytes = folder.bytes("kernels/\(foreign.name)")
    }
    try folder.write(name, bytes)
    var compilations = 0
    let again = try cache.code(for: Self.key) {
      compilations += 1
      return code
    }
    #expect(again == code && compilations == 1, "\(damage)")
    #expect(try cache.code(for: Self.key) { [] } == code, "\(damage)")
  }

  @Test func whoWantsTheSameWaits() throws {
    let cache = cache
    let compilations = Atomic(0)
    let results = Mutex<[[UInt8]]>([])
    DispatchQueue.concurrentPerform(iterations: 4) { _ in
      let code = try? cache.code(for: Self.key) {
        compilations.add(1, ordering: .relaxed)
        usleep(50_000)
        return [1, 2]
      }
      results.withLock { $0.append(code ?? []) }
    }
    #expect(compilations.load(ordering: .relaxed) == 1)
    #expect(results.withLock { $0 } == [[1, 2], [1, 2], [1, 2], [1, 2]])
  }

  @Test func aFailedCompilationLeavesNothing() throws {
    let failure = CUDAError.compilation(kernel: "a.cu", options: [], log: "no")
    #expect(throws: failure) { try cache.code(for: Self.key) { throw failure } }
    #expect(cache.entries.isEmpty)
    #expect(try cache.code(for: Self.key) { [3] } == [3])
  }

  @Test func clearingLeavesWhatIsNotItsOwn() throws {
    _ = try cache.code(for: Self.key) { [1] }
    try folder.write("kernels/notes", [5])
    #expect(try cache.clear() == 1)
    #expect(cache.entries.isEmpty)
    #expect(Folder.contents(cache.folder) == ["notes"])
    #expect(try KernelCache(folder: folder.path("absent")).clear() == 0)
  }

  @Test func aFolderThatCannotBeOneIsNamed() throws {
    try folder.write("file", [1])
    let cache = KernelCache(folder: folder.path("file/kernels"))
    let error = #expect(throws: CUDAError.self) { try cache.code(for: Self.key) { [1] } }
    let message = try #require(error?.description)
    #expect(message.contains(folder.path("file")) && message.contains(KernelCache.variable))
  }

  @Test func theFolderFollowsFromTheEnvironment() throws {
    func folder(_ variables: [String: String]) throws -> String {
      try KernelCache { variables[$0] }.folder
    }
    let all = ["HOME": "/home/me", "XDG_CACHE_HOME": "/caches", KernelCache.variable: "/own"]
    #expect(try folder(all) == "/own")
    #expect(
      try folder(["HOME": "/home/me", "XDG_CACHE_HOME": "/caches"])
        == "/caches/swift-attention/kernels")
    #expect(
      try folder(["HOME": "/home/me", "XDG_CACHE_HOME": ""])
        == "/home/me/.cache/swift-attention/kernels")
    #expect(throws: CUDAError.self) { try folder([:]) }
  }
}
