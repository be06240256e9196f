import FoundationEssentials
import Glibc
import Tensors

/// Folders that are either complete or not there.
public enum AtomicFolder {
  /// What the names of unfinished folders begin with.
  private static let unfinishedPrefix = ".unfinished-"

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
    try removeIfThere(temporary)
    try create(temporary)
    do {
      try fill(temporary)
      try synchronize(temporary)
      try replace(path, by: temporary)
    } catch {
      // The failure that stopped the writing is what the caller must hear of.
      try? removeIfThere(temporary)
      throw error
    }
    try synchronize(parent)
    // Where a folder was replaced, it now has the temporary name.
    try removeIfThere(temporary)
  }

  /// Makes a folder and those above it, where they are missing.
  ///
  /// - Throws: `TensorError.file(path:reason:)`.
  public static func create(_ path: String) throws {
    do {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    } catch {
      throw TensorError.file(path: path, reason: "it cannot be made: \(reason(error))")
    }
  }

  /// Removes a folder or file with all that is in it.
  ///
  /// - Throws: `TensorError.file(path:reason:)`.
  public static func removeIfThere(_ path: String) throws {
    guard access(path, F_OK) == 0 else { return }
    do { try FileManager.default.removeItem(atPath: path) } catch {
      throw TensorError.file(path: path, reason: "it cannot be removed: \(reason(error))")
    }
  }

  /// Removes what processes that were killed while they wrote left in `parent`.
  ///
  /// - Throws: `TensorError.file(path:reason:)`.
  public static func removeUnfinished(in parent: String) throws {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: parent)) ?? []
    for name in names where name.hasPrefix(unfinishedPrefix) {
      try removeIfThere(parent + "/" + name)
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
    if access(path, F_OK) != 0 {
      try rename(temporary, to: path)
    } else if !isFolder(path) {
      throw TensorError.file(path: path, reason: "it exists and is not a folder")
    } else if !exchange(temporary, path) {
      let replaced = temporary + "-replaced"
      try removeIfThere(replaced)
      try rename(path, to: replaced)
      do { try rename(temporary, to: path) } catch {
        try rename(replaced, to: path)
        throw error
      }
      try rename(replaced, to: temporary)
    }
  }

  private static func isFolder(_ path: String) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
  }

  private static func rename(_ from: String, to: String) throws {
    guard Glibc.rename(from, to) == 0 else {
      throw TensorError.file(
        path: to, reason: "it cannot be renamed: \(String(cString: strerror(errno)))")
    }
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
    guard descriptor >= 0 else {
      throw TensorError.file(path: folder, reason: String(cString: strerror(errno)))
    }
    fsync(descriptor)
    close(descriptor)
  }

  private static func reason(_ error: any Error) -> String {
    (error as? CocoaError)?.underlying.map { "\($0)" } ?? "\(error)"
  }
}
