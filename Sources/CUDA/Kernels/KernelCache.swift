import AttentionCLibrary

/// Machine code on disk, so that a kernel is compiled once on a machine and not once a process.
///
/// An entry is a file named by the hash of its key; its first lines repeat the hash and give one of
/// the contents. What does not fit its own first lines is not used but compiled again. Whoever could write
/// an entry could run code in every process that uses it, so the folder must be the user's, or root's, and
/// nobody else may be allowed to write to it. Processes that want the same entry wait for the one that
/// compiles it.
public struct KernelCache: Sendable {
  /// The environment variable that names the folder.
  public static let variable = "ATTENTION_KERNEL_CACHE"

  public let folder: String

  /// How long another process is waited for that compiles the same kernel.
  let patience: Duration

  public init(folder: String) { self.init(folder: folder, patience: .seconds(300)) }

  init(folder: String, patience: Duration) {
    self.folder = folder
    self.patience = patience
  }

  /// The cache of this user.
  ///
  /// - Throws: ``CUDAError/cache(path:reason:)`` if no folder follows from the environment.
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

  /// The machine code for `key`: what is on disk, or what `compile` makes and is then on disk.
  func code(for key: KernelKey, compile: () throws -> [UInt8]) throws -> [UInt8] {
    let hash = key.hash
    if let code = try opened()?.code(hash) { return code }
    let place: PrivateFolder = try naming {
      try Folder.create(folder)
      guard let place = try PrivateFolder(folder) else { throw FileProblem("is gone") }
      return place
    }
    let lock = try naming { try KernelLock(hash, in: place, patience) }
    return try withExtendedLifetime(lock) {
      // Another process may have compiled it while this one waited.
      if let code = place.code(hash) { return code }
      let code = try compile()
      try naming { try place.write(code, hash) }
      return code
    }
  }

  /// The entries' names and sizes in bytes, sorted by name.
  ///
  /// - Throws: ``CUDAError/cache(path:reason:)`` if the folder is not private.
  public var entries: [(name: String, bytes: Int)] {
    get throws {
      guard let place = try opened() else { return [] }
      return Folder.contents(folder).sorted().compactMap { name in
        place.bytes(ofEntry: name).map { (name, $0) }
      }
    }
  }

  /// Removes all entries, and what processes left of them that were killed, and nothing else that lies in the
  /// folder.
  ///
  /// - Returns: how many entries there were.
  /// - Throws: ``CUDAError/cache(path:reason:)``
  public func clear() throws -> Int {
    guard let place = try opened() else { return 0 }
    var count = 0
    for name in Folder.contents(folder) {
      let isEntry = place.bytes(ofEntry: name) != nil
      guard isEntry || place.isRemainder(name) else { continue }
      try naming { try place.remove(name) }
      count += isEntry ? 1 : 0
    }
    return count
  }

  private func opened() throws -> PrivateFolder? { try naming { try PrivateFolder(folder) } }

  /// Runs `body`, a ``FileProblem`` of which becomes an error about the cache.
  private func naming<R>(_ body: () throws -> R) throws -> R {
    do { return try body() } catch let problem as FileProblem {
      throw CUDAError.cache(path: folder, reason: problem.reason)
    }
  }
}
