import Glibc

/// Machine code on disk, so that a kernel is compiled once on a machine and not once a process.
///
/// An entry is a file named by the hash of its key; its first lines repeat the hash and give one of
/// the contents. What does not fit its own first lines is not used but compiled again. Processes that
/// want the same entry wait for the one that compiles it.
public struct KernelCache: Sendable {
  /// The environment variable that names the folder.
  public static let variable = "ATTENTION_KERNEL_CACHE"

  public let folder: String

  public init(folder: String) { self.folder = folder }

  /// The cache of this user.
  ///
  /// - Throws: ``CUDAError/cache(path:reason:)`` if no folder follows from the environment.
  public static func shared() throws -> KernelCache {
    try KernelCache { getenv($0).map { String(cString: $0) } }
  }

  init(environment: (String) -> String?) throws {
    func value(_ name: String) -> String? { environment(name).flatMap { $0.isEmpty ? nil : $0 } }
    if let folder = value(Self.variable) {
      self.folder = folder
    } else if let caches = value("XDG_CACHE_HOME") {
      folder = "\(caches)/swift-attention/kernels"
    } else if let home = value("HOME") {
      folder = "\(home)/.cache/swift-attention/kernels"
    } else {
      throw CUDAError.cache(path: "", reason: "neither HOME nor XDG_CACHE_HOME is set")
    }
  }

  private static let suffix = ".cubin"
  private static let lockSuffix = ".lock"
  private static let title = "swift-attention kernel 1"

  /// The machine code for `key`: what is on disk, or what `compile` makes and is then on disk.
  func code(for key: KernelKey, compile: () throws -> [UInt8]) throws -> [UInt8] {
    let hash = key.hash
    if let code = read(hash) { return code }
    if let reason = Folder.create(folder) { throw CUDAError.cache(path: folder, reason: reason) }
    return try withLock(hash) {
      // Another process may have compiled it while this one waited.
      if let code = read(hash) { return code }
      let code = try compile()
      try write(code, hash)
      return code
    }
  }

  /// The entries' names and sizes in bytes, sorted by name.
  public var entries: [(name: String, bytes: Int)] {
    Folder.contents(folder).filter { $0.hasSuffix(Self.suffix) }.sorted().map { name in
      var status = stat()
      let found = stat("\(folder)/\(name)", &status) == 0
      return (name, found ? Int(status.st_size) : 0)
    }
  }

  /// Removes all entries, and nothing else that lies in the folder.
  ///
  /// - Returns: how many there were.
  /// - Throws: ``CUDAError/cache(path:reason:)``
  public func clear() throws -> Int {
    let names = entries.map(\.name)
    for name in names where unlink("\(folder)/\(name)") != 0 && errno != ENOENT {
      throw failure("\(name) cannot be removed")
    }
    for name in Folder.contents(folder) where name.hasSuffix(Self.lockSuffix) {
      unlink("\(folder)/\(name)")
    }
    return names.count
  }

  private func head(_ hash: String, _ code: ArraySlice<UInt8>) -> [UInt8] {
    Array("\(Self.title)\n\(hash)\n\(SHA256.hexadecimal(code))\n".utf8)
  }

  /// The machine code of an entry; nil if there is none or it is not what it says.
  private func read(_ hash: String) -> [UInt8]? {
    guard let file = fopen("\(folder)/\(hash)\(Self.suffix)", "r") else { return nil }
    defer { fclose(file) }
    var status = stat()
    guard fstat(fileno(file), &status) == 0, status.st_size > 0 else { return nil }
    let size = Int(status.st_size)
    let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
      count = fread(buffer.baseAddress, 1, size, file)
    }
    let headCount = head(hash, []).count
    guard bytes.count == size, size > headCount else { return nil }
    let code = bytes[headCount...]
    return bytes.starts(with: head(hash, code)) ? Array(code) : nil
  }

  /// Writes an entry beside its place and renames it. It is checked when it is read, so it need not
  /// have reached the disk.
  private func write(_ code: [UInt8], _ hash: String) throws {
    let path = "\(folder)/\(hash)\(Self.suffix)"
    let unfinished = "\(path).\(getpid())"
    guard let file = fopen(unfinished, "w") else { throw failure("cannot be written") }
    let bytes = head(hash, code[...]) + code
    let written = fwrite(bytes, 1, bytes.count, file)
    guard fclose(file) == 0, written == bytes.count, rename(unfinished, path) == 0 else {
      let error = failure("cannot be written")
      unlink(unfinished)
      throw error
    }
  }

  private func withLock<R>(_ hash: String, _ body: () throws -> R) throws -> R {
    let everybody: mode_t = 0o666
    let descriptor = open(
      "\(folder)/\(hash)\(Self.lockSuffix)", O_RDWR | O_CREAT | O_CLOEXEC, everybody)
    guard descriptor >= 0 else { throw failure("cannot be written") }
    // Closing gives the lock back, also where the process ends.
    defer { close(descriptor) }
    while flock(descriptor, LOCK_EX) != 0 {
      guard errno == EINTR else { throw failure("cannot be locked") }
    }
    return try body()
  }

  private func failure(_ what: String) -> CUDAError {
    .cache(path: folder, reason: "\(what): \(String(cString: strerror(errno)))")
  }
}
