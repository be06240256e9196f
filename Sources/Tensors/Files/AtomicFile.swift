import AttentionCLibrary

/// Files that are either complete or absent.
///
/// The bytes go into a temporary file in the same folder, which is renamed once all of them have reached the
/// disk. If writing fails, the temporary file is removed and an existing file of that name is unchanged.
public enum AtomicFile {
  /// Writes to a file under construction.
  public struct Writer: ~Copyable {
    fileprivate let descriptor: Int32
    fileprivate let path: String

    /// Appends `bytes`.
    ///
    /// - Throws: ``TensorError/file(path:reason:)``, for example when the disk is full.
    public func write(_ bytes: UnsafeRawBufferPointer) throws {
      var rest = bytes[...]
      while !rest.isEmpty {
        let chunk = UnsafeRawBufferPointer(rebasing: rest)
        let count = AttentionCLibrary.write(descriptor, chunk.baseAddress, chunk.count)
        if count < 0 {
          if errno == EINTR { continue }
          throw TensorError.system(path, "cannot be written")
        }
        rest = rest.dropFirst(count)
      }
    }

    /// Appends the UTF-8 bytes of `text`.
    public func write(_ text: String) throws {
      var text = text
      try text.withUTF8 { try write(UnsafeRawBufferPointer($0)) }
    }
  }

  /// Writes the file at `path`, replacing an existing one and keeping its permissions. Symbolic links are
  /// followed. Devices and pipes are written in place.
  ///
  /// - Parameters:
  ///   - path: the file's path.
  ///   - onlyRegular: whether it is an error if the path exists and is not a regular file; symbolic links
  ///     count as not regular.
  ///   - body: writes the bytes.
  /// - Throws: ``TensorError/file(path:reason:)`` with the system's reason, or what `body` throws.
  public static func write(
    to path: String, onlyRegular: Bool = false, _ body: (borrowing Writer) throws -> Void
  ) throws {
    var target = path
    if onlyRegular {
      try requireRegular(path)
    } else if let resolved = realpath(path, nil) {
      target = String(cString: resolved)
      free(resolved)
    }
    var status = stat()
    let exists = stat(target, &status) == 0
    let kind = status.st_mode & S_IFMT
    try requireTrustedLink(path)
    if exists, kind == S_IFDIR {
      throw TensorError.file(path: path, reason: "is a folder; it must be a file")
    }
    if exists, kind != S_IFREG { return try writeInPlace(target, path, body) }

    let (descriptor, temporary) = try createBeside(target, path)
    do {
      try fill(descriptor, path, body)
      if exists { fchmod(descriptor, status.st_mode & 0o7777) }
      guard fsync(descriptor) == 0 else {
        throw TensorError.system(path, "cannot be written")
      }
    } catch {
      close(descriptor)
      unlink(temporary)
      throw error
    }
    guard close(descriptor) == 0, rename(temporary, target) == 0 else {
      let error = TensorError.system(path, "cannot be written")
      unlink(temporary)
      throw error
    }
    guard synchronizeFolder(of: target) else {
      throw TensorError.system(path, "cannot be written")
    }
  }

  /// Writes `text` to the file at `path`.
  public static func write(_ text: String, to path: String, onlyRegular: Bool = false) throws {
    try write(to: path, onlyRegular: onlyRegular) { try $0.write(text) }
  }

  /// Throws ``TensorError/file(path:reason:)`` if `path` exists and is not a regular file.
  package static func requireRegular(_ path: String) throws {
    var status = stat()
    guard lstat(path, &status) == 0 else {
      guard errno == ENOENT else { throw TensorError.system(path, "cannot be read") }
      return
    }
    let kind =
      switch status.st_mode & S_IFMT {
      case S_IFREG: String?.none
      case S_IFLNK: "a symbolic link"
      case S_IFDIR: "a folder"
      case S_IFIFO: "a pipe"
      default: "a device"
      }
    if let kind {
      throw TensorError.file(path: path, reason: "is \(kind); it must be a regular file or absent")
    }
  }

  private static func fill(
    _ descriptor: Int32, _ path: String, _ body: (borrowing Writer) throws -> Void
  ) throws {
    let writer = Writer(descriptor: descriptor, path: path)
    try body(writer)
  }

  private static func writeInPlace(
    _ target: String, _ path: String, _ body: (borrowing Writer) throws -> Void
  ) throws {
    // Opening a pipe does not wait for a reader; writing to it does.
    let descriptor = open(target, O_WRONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
      if errno == ENXIO {
        throw TensorError.file(path: path, reason: "is a pipe that nobody reads")
      }
      throw TensorError.system(path, "cannot be written")
    }
    defer { close(descriptor) }
    _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) & ~O_NONBLOCK)
    try fill(descriptor, path, body)
  }

  /// Throws if `path` is a symbolic link that another user placed in a world-writable folder such as /tmp,
  /// whose target may not be intended. The kernel's protection of such links does not cover renaming.
  private static func requireTrustedLink(_ path: String) throws {
    var (link, parent) = (stat(), stat())
    guard lstat(path, &link) == 0, link.st_mode & S_IFMT == S_IFLNK,
      stat(folder(of: path), &parent) == 0
    else { return }
    let isForEverybody = parent.st_mode & S_IWOTH != 0 && parent.st_mode & S_ISVTX != 0
    guard !isForEverybody || link.st_uid == geteuid() || link.st_uid == parent.st_uid else {
      throw TensorError.file(
        path: path,
        reason: "is a symbolic link of user \(link.st_uid) in a folder that everybody can write to")
    }
  }

  /// A new file in the folder of `target`, with a unique name. The name is short whatever the length of the
  /// target's, so that it never exceeds the limit.
  private static func createBeside(
    _ target: String, _ path: String
  ) throws -> (descriptor: Int32, name: String) {
    let attempts = 16
    for _ in 0..<attempts {
      let unique = String(UInt64.random(in: 0...UInt64.max), radix: 36)
      let name = folder(of: target) + ".unfinished-\(getpid())-\(unique)"
      let descriptor = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
      if descriptor >= 0 { return (descriptor, name) }
      if errno != EEXIST { break }
    }
    throw TensorError.system(path, "cannot be written")
  }

  /// Makes the rename durable, if the file system can.
  ///
  /// - Returns: `false`, with the reason in `errno`, if that failed.
  private static func synchronizeFolder(of target: String) -> Bool {
    let descriptor = open(folder(of: target), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    // A folder may be writable but not readable.
    guard descriptor >= 0 else { return errno == EACCES }
    defer { close(descriptor) }
    return fsync(descriptor) == 0 || errno == EINVAL || errno == ENOTSUP
  }

  /// The part of `path` up to its last slash, or `./`.
  private static func folder(of path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "./" }
    return String(path[...slash])
  }
}

extension TensorError {
  /// A file error with the text of `errno`.
  static func system(_ path: String, _ what: String) -> TensorError {
    .file(path: path, reason: "\(what): \(String(cString: strerror(errno)))")
  }
}
