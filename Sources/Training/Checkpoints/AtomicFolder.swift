import FoundationEssentials
import Glibc

/// Folders that are either complete or not there.
enum AtomicFolder {
  /// What the names of unfinished folders begin with.
  private static let unfinishedPrefix = ".unfinished-"

  /// Makes the folder `name` in the folder `parent`, replacing one that exists.
  ///
  /// It is filled under a temporary name and takes its own when `fill` is done. If that fails, the
  /// temporary folder is removed and what had the name before is left as it was.
  ///
  /// - Parameter fill: writes files, each of which has reached the disk when it returns, into the
  ///   folder whose path it is given.
  /// - Throws: ``TrainingError/notWritten(path:reason:)``, or what `fill` throws.
  static func write(_ name: String, in parent: String, _ fill: (String) throws -> Void) throws {
    let path = parent + "/" + name
    let temporary = parent + "/" + unfinishedPrefix + name
    let replaced = parent + "/" + unfinishedPrefix + "replaced-" + name
    try removeIfThere(temporary)
    try removeIfThere(replaced)
    try create(temporary)
    do {
      try fill(temporary)
      if access(path, F_OK) == 0 { try rename(path, to: replaced) }
      do { try rename(temporary, to: path) } catch {
        try rename(replaced, to: path)
        throw error
      }
    } catch {
      // The failure that stopped the writing is what the caller must hear of.
      try? removeIfThere(temporary)
      throw error
    }
    synchronize(parent)
    try removeIfThere(replaced)
  }

  /// Makes a folder and those above it, where they are missing.
  static func create(_ path: String) throws {
    do {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    } catch {
      throw TrainingError.notWritten(path: path, reason: reason(error))
    }
  }

  /// Removes a folder or file with all that is in it.
  static func removeIfThere(_ path: String) throws {
    guard access(path, F_OK) == 0 else { return }
    do { try FileManager.default.removeItem(atPath: path) } catch {
      throw TrainingError.notWritten(path: path, reason: "it cannot be removed: \(reason(error))")
    }
  }

  /// Removes what runs that were killed while they wrote left in `parent`.
  static func removeUnfinished(in parent: String) throws {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: parent)) ?? []
    for name in names where name.hasPrefix(unfinishedPrefix) {
      try removeIfThere(parent + "/" + name)
    }
  }

  private static func rename(_ from: String, to: String) throws {
    guard Glibc.rename(from, to) == 0 else {
      throw TrainingError.notWritten(path: to, reason: String(cString: strerror(errno)))
    }
  }

  /// Makes the new name last through a power failure, where the file system can.
  private static func synchronize(_ folder: String) {
    let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    fsync(descriptor)
    close(descriptor)
  }

  private static func reason(_ error: any Error) -> String {
    (error as? CocoaError)?.underlying.map { "\($0)" } ?? "\(error)"
  }
}
