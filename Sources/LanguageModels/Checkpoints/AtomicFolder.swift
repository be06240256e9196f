import AttentionCLibrary
import AttentionCUDA
import FoundationEssentials
import AttentionTensors

/// Folders that are either complete or not there.
public enum AtomicFolder {
  /// What the names of unfinished folders begin with.
  private static let unfinishedPrefix = ".unfinished-"
  /// What the names of folders that are being removed begin with.
  private static let removedPrefix = ".removed-"

  /// Makes the folder at `path`, and those above it, replacing one that exists.
  ///
  /// It is filled under a temporary name and takes its own when `fill` is done. If that fails, the
  /// temporary folder is removed and what had the name before is left as it was.
  ///
  /// - Parameters:
  ///   - path: the folder's name.
  ///   - fill: writes files, each of which has reached the disk when it returns, into the folder
  ///     whose path it is given.
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
      // The failure that stopped the writing is what the caller must hear of.
      try? delete(temporary)
      throw error
    }
    try synchronize(parent)
    // Where a folder was replaced, it now has the temporary name.
    try delete(temporary)
  }

  /// Makes a folder and those above it, where they are missing.
  ///
  /// - Throws: `TensorError.file(path:reason:)`.
  public static func create(_ path: String) throws {
    let everybody: mode_t = 0o777
    do { try Folder.create(path, mode: everybody) } catch let problem as FileProblem {
      throw TensorError.file(path: path, reason: problem.reason)
    }
  }

  /// Removes a folder or file with all that is in it; of a symbolic link, the link.
  ///
  /// It first takes a hidden name, so that there never is a part of it under its own. What a process
  /// leaves that is killed meanwhile, ``removeUnfinished(in:where:)`` removes.
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

  /// Removes what processes that were killed while they wrote or removed left in `parent`.
  ///
  /// - Parameters:
  ///   - parent: the folder.
  ///   - isOwn: whether the caller's processes left what is called like this, as `model` for
  ///     `.unfinished-model`; of files only the number of the process is known, as `4711-abc`.
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

  /// The names in a folder, in no order; none if there is no such folder. A name that is not UTF-8 is left
  /// out: nothing here has one.
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

  /// Gives `temporary` the name `path`. A folder that had it gets the temporary name, in one step
  /// where the system can exchange names.
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

  /// Whether something has the name: a symbolic link that leads nowhere too.
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
    // From linux/fs.h; Swift's Glibc does not have it, nor the function.
    let renameExchange: UInt32 = 2
    guard let symbol = dlsym(nil, "renameat2") else { return false }
    let function = unsafeBitCast(symbol, to: Rename.self)
    return function(AT_FDCWD, first, AT_FDCWD, second, renameExchange) == 0
  }

  /// Makes the names in a folder last through a power failure, where the file system can.
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

  /// The system's words for why FileManager failed.
  private static func reason(_ error: any Error) -> String {
    guard let system = (error as? CocoaError)?.underlying as? POSIXError else { return "\(error)" }
    return String(cString: strerror(system.code.rawValue))
  }
}
