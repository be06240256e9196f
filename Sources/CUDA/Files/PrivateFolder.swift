import AttentionCLibrary

/// An open folder that only its owner can change. Its files are opened relative to the descriptor, so that
/// neither a symbolic link nor a replaced folder can redirect them.
final class PrivateFolder: Sendable {
  private let descriptor: Int32

  /// Opens the folder at `path`.
  ///
  /// - Returns: `nil` if there is none.
  /// - Throws: ``FileProblem`` if it is not a folder, belongs to a user other than this one or root, or is
  ///   writable by others.
  init?(_ path: String) throws {
    descriptor = AttentionCLibrary.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    if descriptor < 0 {
      if errno == ENOENT { return nil }
      throw FileProblem.system("cannot be opened")
    }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw FileProblem.system("cannot be read") }
    guard Self.isTrusted(status.st_uid) else {
      throw FileProblem("belongs to user \(status.st_uid); it must be yours")
    }
    guard status.st_mode & (S_IWGRP | S_IWOTH) == 0 else {
      throw FileProblem("can be written by other users; chmod go-w would make it yours alone")
    }
  }

  deinit { if descriptor >= 0 { close(descriptor) } }

  /// Whether files of this user are trusted: the process's own user, or root.
  static func isTrusted(_ owner: uid_t) -> Bool { owner == geteuid() || owner == 0 }

  /// The file `name`, opened for reading; nil unless it is a regular file, not a link, and trusted.
  func file(_ name: String) -> RegularFile? {
    guard
      let file = try? RegularFile(path: Array(name.utf8), in: descriptor, followsLinks: false),
      Self.isTrusted(file.owner), !file.isWritableByOthers
    else { return nil }
    return file
  }

  /// Opens `name` for reading and writing, creating it, accessible to the owner only, if it is absent.
  ///
  /// - Parameter isNew: whether an existing file of this name is an error.
  /// - Returns: a descriptor, which the caller closes.
  /// - Throws: ``FileProblem`` if it cannot be opened or is not a regular file.
  func open(_ name: String, isNew: Bool) throws -> Int32 {
    let ownerOnly: mode_t = 0o600
    let flags = O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | (isNew ? O_EXCL : 0)
    let file = openat(descriptor, name, flags, ownerOnly)
    guard file >= 0 else { throw FileProblem.system("\(name) cannot be written") }
    var status = stat()
    guard fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      close(file)
      throw FileProblem("\(name) is not a regular file")
    }
    return file
  }

  /// Renames `name` to `target`, replacing any file of that name.
  func rename(_ name: String, to target: String) throws {
    guard renameat(descriptor, name, descriptor, target) == 0 else {
      throw FileProblem.system("\(target) cannot be written")
    }
  }

  /// Removes a file; does nothing if it does not exist.
  func remove(_ name: String) throws {
    guard unlinkat(descriptor, name, 0) == 0 || errno == ENOENT else {
      throw FileProblem.system("\(name) cannot be removed")
    }
  }
}
