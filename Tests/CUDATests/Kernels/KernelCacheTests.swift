import AttentionCLibrary
import Dispatch
import Synchronization
import TestSupport
import Testing

@testable import AttentionCUDA

@Suite struct KernelCacheTests {
  private let folder = TemporaryFolder()
  private var cache: KernelCache { KernelCache(folder: folder.path("kernels")) }

  private static let key = KernelKey(
    source: KernelSource(
      main: .init(name: "a.cu", text: "x"), headers: [.init(name: "a.cuh", text: "y")]),
    options: ["-DA=1", "-DB=2"], architecture: "sm_90", compiler: "13.0")

  private func entryName() throws -> String {
    "kernels/" + (try #require(try cache.entries.first)).name
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
    #expect(try cache.entries.count == 1)
  }

  /// Any difference in the key gives other machine code.
  @Test func everyPartOfTheKeyCounts() {
    let key = Self.key
    var keys = [key]
    for change: (inout KernelKey) -> Void in [
      { $0.source.main.text += " " }, { $0.source.main.name += "x" },
      { $0.source.headers[0].text = "" }, { $0.source.headers = [] },
      { $0.options.swapAt(0, 1) }, { $0.options = ["-DA=1-DB=2"] }, { $0.options.append("") },
      { $0.architecture = "sm_80" }, { $0.compiler = "12.9" },
      {
        // The same characters, divided differently.
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

  /// Entries that are truncated, changed, empty, or of another key are compiled again.
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
      let foreign = try #require(try cache.entries.first { "kernels/\($0.name)" != name })
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
    #expect(try cache.entries.isEmpty)
    #expect(try cache.code(for: Self.key) { [3] } == [3])
  }

  @Test func clearingLeavesWhatIsNotItsOwn() throws {
    _ = try cache.code(for: Self.key) { [1] }
    try folder.write("kernels/notes", [5])
    #expect(try cache.clear() == 1)
    #expect(try cache.entries.isEmpty)
    #expect(Folder.contents(cache.folder) == ["notes"])
    #expect(try KernelCache(folder: folder.path("absent")).clear() == 0)
  }

  /// Names like an entry's without its header, headers under other names, folders and links.
  @Test func clearingLeavesWhatOnlyLooksLikeItsOwn() throws {
    _ = try cache.code(for: Self.key) { [1] }
    let name = try #require(try cache.entries.first).name
    let hash = String(name.dropLast(6))
    let other = String(hash.reversed())
    let bytes = folder.bytes("kernels/" + name)
    try folder.write("kernels/a.cubin", bytes)
    try folder.write("kernels/\(other).cubin", bytes)
    try folder.write("kernels/\(other).lock", [1])
    try folder.write("kernels/a.lock", [])
    try folder.write("kernels/\(other).1a.unfinished", [9])
    symlink(folder.path("kernels/" + name), folder.path("kernels/\(other.dropLast())0.cubin"))
    let left = Set(Folder.contents(cache.folder)).subtracting([name, "\(hash).lock"])
    // Unfinished files of killed processes are removed too.
    try folder.write("kernels/\(other).2b.unfinished", Array(bytes.prefix(30)))
    #expect(try cache.entries.map(\.name) == [name])
    #expect(try cache.clear() == 1)
    #expect(Set(Folder.contents(cache.folder)) == left)
  }

  private func message(_ cache: KernelCache) -> String {
    do { _ = try cache.code(for: Self.key) { [7] } } catch { return "\(error)" }
    return "none"
  }

  @Test(arguments: [0o777, 0o770, 0o702] as [mode_t])
  func aFolderThatOthersWriteToIsRefused(mode: mode_t) throws {
    _ = try cache.code(for: Self.key) { [1] }
    chmod(cache.folder, mode)
    #expect(message(cache).contains("can be written by other users"))
    #expect(throws: CUDAError.self) { try cache.entries }
    #expect(throws: CUDAError.self) { try cache.clear() }
    chmod(cache.folder, 0o755)
    #expect(message(cache) == "none")
  }

  /// Only root can change the owner of folders, and root alone trusts folders of other users.
  @Test(.enabled(if: geteuid() == 0)) func aFolderOfSomebodyElseIsRefused() throws {
    _ = try cache.code(for: Self.key) { [1] }
    chown(cache.folder, 1, 1)
    #expect(message(cache).contains("belongs to user 1"))
  }

  /// Entries that others could have written, and irregular or huge files, are compiled again.
  @Test(arguments: ["writable", "link", "pipe", "sparse", "folder"])
  func foreignEntriesAreCompiledAgain(kind: String) throws {
    _ = try cache.code(for: Self.key) { [1] }
    let name = try entryName()
    let (path, bytes) = (folder.path(name), folder.bytes(name))
    switch kind {
    case "writable": chmod(path, 0o666)
    case "link":
      try folder.write("elsewhere", bytes)
      unlink(path)
      symlink(folder.path("elsewhere"), path)
    case "pipe":
      unlink(path)
      mkfifo(path, 0o600)
    case "sparse": truncate(path, 1 << 40)
    default:
      unlink(path)
      mkdir(path, 0o700)
    }
    var wasCompiled = false
    let code = try? cache.code(for: Self.key) {
      wasCompiled = true
      return [2]
    }
    #expect(wasCompiled, "\(kind)")
    // Everything but a folder is replaced.
    #expect(kind == "folder" ? code == nil : code == [2], "\(kind)")
    if kind == "link" { #expect(folder.bytes("elsewhere") == bytes) }
    #expect(!Folder.contents(cache.folder).contains { $0.hasSuffix("unfinished") })
  }

  @Test func aLockIsNotWaitedForWithoutEnd() throws {
    _ = try cache.code(for: Self.key) { [1] }
    let name = try entryName()
    let lock = folder.path(String(name.dropLast(5)) + "lock")
    let impatient = KernelCache(folder: cache.folder, patience: .milliseconds(50))
    unlink(folder.path(name))
    let holder = open(lock, O_RDWR)
    #expect(flock(holder, LOCK_EX) == 0)
    #expect(message(impatient).contains("another process has held"))
    close(holder)
    #expect(message(impatient) == "none")
    // Pipes and links cannot be locks.
    unlink(folder.path(name))
    unlink(lock)
    mkfifo(lock, 0o600)
    #expect(message(impatient).contains("lock is not a regular file"))
    unlink(lock)
    symlink("/dev/null", lock)
    #expect(message(impatient).contains("lock cannot be written"))
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
