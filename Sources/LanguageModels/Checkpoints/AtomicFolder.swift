import AttentionCLibrary
import AttentionCUDA
import FoundationEssentials
import AttentionTensors

/// Folders that are either complete or absent.
public enum AtomicFolder {
  /// The prefix of unfinished folders' names.
  private static let unfinishedPrefix = ".unfinished-"
  /// The prefix of the names of folders that are being removed.
  private static let removedPrefix = ".removed-"

  /// Creates the folder at `path`, and those above it, replacing one that exists.
  ///
  /// It is filled under a temporary name and renamed when `fill` is done. If that fails, the temporary
  /// folder is removed and whatever is at `path` is unchanged.
  ///
  /// - Parameters:
  ///   - path: the folder's name.
  ///   - fill: writes files into the folder whose path it is given; each must be on disk when it
  ///     returns.
  /// - Throws: `TensorError.file(path:reason:)`, or what `fill` throws.
  public static func write(to path: String, _ fill: (String) throws -> Void) throws {
    let (parent, name) = try split(path)
    try create(parent)
    let temporary = parent + "/" + unfinishedPrefix + name
    try delete(temporary)
    guard mkdir(temporary, 0o777) == 0 else { throw failure(temporary, "it cannot be made") }
    do {
      try fill(temporary)
      try synchronize(temporary)
      try replace(path, by: temporary)
    } catch {
      // The caller must get the error that stopped the writing.
      try? delete(temporary)
      throw error
    }
    try synchronize(parent)
    // A folder that was replaced now has the temporary name.
    try delete(temporary)
  }

  /// Creates a folder and those above it, where they are missing.
  ///
  /// - Throws: `TensorError.file(path:reason:)`.
  public static func create(_ path: String) throws {
    let everybody: mode_t = 0o777
    do { try Folder.create(path, mode: everybody) } catch let problem as FileProblem {
      throw TensorError.file(path: path, reason: problem.reason)
    }
  }

  /// Removes a file, a folder with its contents, or a symbolic link itself.
  ///
  /// It is first given a hidden name, so that `path` never names only a part of it. If the process is killed
  /// meanwhile, ``removeUnfinished(in:where:)`` removes the rest.
  ///
  /// - Throws: `TensorError.file(path:reason:)`.
  public static func removeIfThere(_ path: String) throws {
    let (parent, name) = try split(path)
    guard exists(path) else { return }
    let removed = parent + "/" + removedPrefix + name
    try delete(removed)
    try rename(path, to: removed)
    try synchronize(parent)
    try delete(removed)
  }

  /// Removes what processes left in `parent` that were killed while they wrote or removed a folder.
  ///
  /// - Parameters:
  ///   - parent: the folder.
  ///   - isOwn: whether the caller's processes left the item of this name: `model` for
  ///     `.unfinished-model`; of a file only the process's number is known, as in `4711-abc`.
  /// - Throws: `TensorError.file(path:reason:)`.
  public static func removeUnfinished(
    in parent: String, where isOwn: (Substring) -> Bool = { _ in true }
  ) throws {
    for name in try names(in: parent) {
      for prefix in [unfinishedPrefix, removedPrefix]
      where name.hasPrefix(prefix) && isOwn(name.dropFirst(prefix.count)) {
        try delete(parent + "/" + name)
      }
    }
  }

  /// The names in a folder, in no particular order; none if there is no such folder. Names that are not UTF-8
  /// are skipped, since this type gives none.
  ///
  /// - Throws: `TensorError.file(path:reason:)`.
  package static func names(in folder: String) throws -> [String] {
    guard exists(folder) else { return [] }
    do {
      return try Folder.names(in: Array(folder.utf8)).compactMap {
        String(validating: $0, as: UTF8.self)
      }
    } catch let problem as FileProblem {
      throw TensorError.file(path: folder, reason: problem.reason)
    }
  }

  /// The folder above `path`, and its own name.
  private static func split(_ path: String) throws -> (parent: String, name: String) {
    var trimmed = path[...]
    while trimmed.count > 1, trimmed.last == "/" { trimmed.removeLast() }
    let slash = trimmed.lastIndex(of: "/")
    let name = slash.map { trimmed[trimmed.index(after: $0)...] } ?? trimmed
    guard !name.isEmpty, name != ".", name != ".." else {
      throw TensorError.file(path: path, reason: "it names no folder that can be replaced")
    }
    guard let slash else { return (".", String(name)) }
    return (slash == trimmed.startIndex ? "/" : String(trimmed[..<slash]), String(name))
  }

  /// Renames `temporary` to `path`. A folder at `path` gets the temporary name, atomically where the
  /// system can exchange names.
  private static func replace(_ path: String, by temporary: String) throws {
    if !exists(path) {
      try rename(temporary, to: path)
    } else if !isFolder(path) {
      throw TensorError.file(path: path, reason: "it exists and is not a folder")
    } else if !exchange(temporary, path) {
      let replaced = temporary + "-replaced"
      try delete(replaced)
      try rename(path, to: replaced)
      do { try rename(temporary, to: path) } catch {
        try rename(replaced, to: path)
        throw error
      }
      try rename(replaced, to: temporary)
    }
  }

  /// Whether something is at `path`, be it a broken symbolic link.
  private static func exists(_ path: String) -> Bool {
    var status = stat()
    return lstat(path, &status) == 0
  }

  private static func isFolder(_ path: String) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
  }

  private static func delete(_ path: String) throws {
    guard exists(path) else { return }
    do { try FileManager.default.removeItem(atPath: path) } catch {
      throw TensorError.file(path: path, reason: "it cannot be removed: \(reason(error))")
    }
  }

  private static func rename(_ from: String, to: String) throws {
    guard AttentionCLibrary.rename(from, to) == 0 else { throw failure(to, "it cannot be renamed") }
  }

  /// Exchanges two names; false where the C library, the kernel or the file system cannot.
  private static func exchange(_ first: String, _ second: String) -> Bool {
    typealias Rename =
      @convention(c) (Int32, UnsafePointer<CChar>, Int32, UnsafePointer<CChar>, UInt32) -> Int32
    // From linux/fs.h; Swift's Glibc has neither it nor the function.
    let renameExchange: UInt32 = 2
    guard let symbol = dlsym(nil, "renameat2") else { return false }
    let function = unsafeBitCast(symbol, to: Rename.self)
    return function(AT_FDCWD, first, AT_FDCWD, second, renameExchange) == 0
  }

  /// Makes the names in a folder survive a power failure, where the file system can.
  private static func synchronize(_ folder: String) throws {
    let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw failure(folder, "it cannot be read") }
    defer { close(descriptor) }
    guard fsync(descriptor) == 0 || errno == EINVAL || errno == ENOTSUP else {
      throw failure(folder, "what is in it may not have reached the disk")
    }
  }

  /// An error with the reason of the last system call that failed.
  private static func failure(_ path: String, _ what: String) -> TensorError {
    .file(path: path, reason: "\(what): \(String(cString: strerror(errno)))")
  }

  /// The system's description of why FileManager failed.
  private static func reason(_ error: any Error) -> String {
    guard let system = (error as? CocoaError)?.underlying as? POSIXError else { return "\(error)" }
    return String(cString: strerror(system.code.rawValue))
  }
}
