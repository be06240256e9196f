import AttentionCLibrary

/// A regular file opened for reading. Nothing else is opened as one: a pipe would be waited for without end.
///
/// What is read is a copy, so a file that changes or is shortened meanwhile is a mistake to be reported and
/// not a fault of the process, as it would be where files are mapped.
package final class RegularFile: Sendable {
  /// Bytes that the file had when it was opened.
  package let size: Int
  /// The user whose file it is.
  package let owner: uid_t
  /// Whether other users than the owner may write it.
  package let isWritableByOthers: Bool
  private let descriptor: Int32

  /// - Parameters:
  ///   - path: the bytes of the name.
  ///   - folder: an open folder that a relative path begins in; nil for the current one.
  ///   - followsLinks: whether a symbolic link stands for what it leads to; otherwise it is a mistake.
  /// - Throws: ``FileProblem``
  package init(
    path: [UInt8], in folder: Int32? = nil, followsLinks: Bool = true
  ) throws {
    guard !path.contains(0) else { throw FileProblem("its name contains a zero byte") }
    // Without waiting for the other end of a pipe.
    let flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | (followsLinks ? 0 : O_NOFOLLOW)
    let name = path.map(CChar.init(bitPattern:)) + [0]
    descriptor = openat(folder ?? AT_FDCWD, name, flags)
    guard descriptor >= 0 else { throw FileProblem.system("cannot be opened") }
    var status = stat()
    let isKnown = fstat(descriptor, &status) == 0
    size = Int(status.st_size)
    owner = status.st_uid
    isWritableByOthers = status.st_mode & (S_IWGRP | S_IWOTH) != 0
    guard isKnown, status.st_mode & S_IFMT == S_IFREG else {
      throw FileProblem("is not a regular file")
    }
  }

  package convenience init(path: String) throws { try self.init(path: Array(path.utf8)) }

  deinit { if descriptor >= 0 { close(descriptor) } }

  /// Fills `target` with the bytes from `offset` on.
  ///
  /// - Throws: ``FileProblem`` if they are not there any more, or cannot be read.
  package func read(
    into target: UnsafeMutableRawBufferPointer, at offset: Int
  ) throws(FileProblem) {
    var done = 0
    while done < target.count {
      let rest = UnsafeMutableRawBufferPointer(rebasing: target[done...])
      let count = pread(descriptor, rest.baseAddress, rest.count, off_t(offset + done))
      if count < 0 {
        if errno == EINTR { continue }
        throw FileProblem.system("cannot be read")
      }
      guard count > 0 else { throw FileProblem("was shortened while it was read") }
      done += count
    }
  }

  /// The bytes `range`.
  ///
  /// - Throws: ``FileProblem``
  package func bytes(_ range: Range<Int>) throws -> [UInt8] {
    var problem: FileProblem?
    let bytes = [UInt8](unsafeUninitializedCapacity: range.count) { buffer, count in
      do throws(FileProblem) {
        try read(into: UnsafeMutableRawBufferPointer(buffer), at: range.lowerBound)
        count = range.count
      } catch { problem = error }
    }
    if let problem { throw problem }
    return bytes
  }

  /// All bytes of a file that has `limit` at most.
  ///
  /// - Throws: ``FileProblem``
  package func bytes(atMost limit: Int) throws -> [UInt8] {
    guard size <= limit else {
      throw FileProblem("has \(size) bytes; it must have at most \(limit)")
    }
    return try bytes(0..<size)
  }
}
