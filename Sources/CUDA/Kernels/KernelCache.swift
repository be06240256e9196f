import AttentionCLibrary

/// Machine code on disk, so that a kernel is compiled once per machine, not once per process.
///
/// An entry is a file named by the hash of its key; its first lines repeat that hash and give the hash of
/// the contents. An entry whose contents do not match its header is compiled again. Whoever can write an
/// entry can run code in every process that uses it, so the folder must belong to the user or root and be
/// writable by nobody else. Processes that need the same entry wait for the one that compiles it.
public struct KernelCache: Sendable {
  /// The environment variable that names the folder.
  public static let variable = "ATTENTION_KERNEL_CACHE"

  public let folder: String

  /// How long to wait for another process that is compiling the same kernel.
  let patience: Duration

  public init(folder: String) { self.init(folder: folder, patience: .seconds(300)) }

  init(folder: String, patience: Duration) {
    self.folder = folder
    self.patience = patience
  }

  /// The cache of this user.
  ///
  /// - Throws: ``CUDAError/cache(path:reason:)`` if the environment names no folder.
  public static func shared() throws -> KernelCache {
    try KernelCache { getenv($0).map { String(cString: $0) } }
  }

  init(environment: (String) -> String?) throws {
    func value(_ name: String) -> String? { environment(name).flatMap { $0.isEmpty ? nil : $0 } }
    if let folder = value(Self.variable) {
      self.init(folder: folder)
    } else if let caches = value("XDG_CACHE_HOME") {
      self.init(folder: "\(caches)/swift-attention/kernels")
    } else if let home = value("HOME") {
      self.init(folder: "\(home)/.cache/swift-attention/kernels")
    } else {
      throw CUDAError.cache(path: "", reason: "neither HOME nor XDG_CACHE_HOME is set")
    }
  }

  /// The machine code for `key`, from disk or else from `compile`, whose result is then stored on disk.
  func code(for key: KernelKey, compile: () throws -> [UInt8]) throws -> [UInt8] {
    let hash = key.hash
    if let code = try opened()?.code(hash) { return code }
    let directory: PrivateFolder = try naming {
      try Folder.create(folder)
      guard let directory = try PrivateFolder(folder) else { throw FileProblem("is gone") }
      return directory
    }
    let lock = try naming { try KernelLock(hash, in: directory, patience) }
    return try withExtendedLifetime(lock) {
      // Another process may have compiled it while this one waited.
      if let code = directory.code(hash) { return code }
      let code = try compile()
      try naming { try directory.write(code, hash) }
      return code
    }
  }

  /// The entries' names and sizes in bytes, sorted by name.
  ///
  /// - Throws: ``CUDAError/cache(path:reason:)`` if the folder is not private.
  public var entries: [(name: String, bytes: Int)] {
    get throws {
      guard let directory = try opened() else { return [] }
      return Folder.contents(folder).sorted().compactMap { name in
        directory.bytes(ofEntry: name).map { (name, $0) }
      }
    }
  }

  /// Removes all entries, locks and unfinished files of killed processes; other files in the folder stay.
  ///
  /// - Returns: how many entries were removed.
  /// - Throws: ``CUDAError/cache(path:reason:)`` if the folder is not private or a file cannot be removed.
  public func clear() throws -> Int {
    guard let directory = try opened() else { return 0 }
    var count = 0
    for name in Folder.contents(folder) {
      let isEntry = directory.bytes(ofEntry: name) != nil
      guard isEntry || directory.isRemainder(name) else { continue }
      try naming { try directory.remove(name) }
      count += isEntry ? 1 : 0
    }
    return count
  }

  private func opened() throws -> PrivateFolder? { try naming { try PrivateFolder(folder) } }

  /// Runs `body` and turns a ``FileProblem`` into an error about the cache.
  private func naming<R>(_ body: () throws -> R) throws -> R {
    do { return try body() } catch let problem as FileProblem {
      throw CUDAError.cache(path: folder, reason: problem.reason)
    }
  }
}
