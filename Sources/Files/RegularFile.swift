import AttentionCLibrary

/// A regular file opened for reading. Other kinds are refused: opening a pipe could block for ever.
///
/// Reads copy, so a file that is truncated meanwhile gives an error, where a mapped file would crash the
/// process.
package final class RegularFile: Sendable {
  /// Size in bytes when the file was opened.
  package let size: Int
  /// The owner's user ID.
  package let owner: uid_t
  /// Whether users other than the owner may write to it.
  package let isWritableByOthers: Bool
  private let descriptor: Int32

  /// - Parameters:
  ///   - path: the path as bytes.
  ///   - folder: descriptor of the folder that a relative path is resolved in; nil for the current one.
  ///   - followsLinks: whether symbolic links are followed; otherwise a link is an error.
  /// - Throws: ``FileProblem`` if it cannot be opened or is not a regular file.
  package init(
    path: [UInt8], in folder: Int32? = nil, followsLinks: Bool = true
  ) throws {
    guard !path.contains(0) else { throw FileProblem("its name contains a zero byte") }
    // Non-blocking, so that opening a pipe does not wait for a writer.
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

  /// Fills `target` with the bytes starting at `offset`.
  ///
  /// - Throws: ``FileProblem`` if the file has become shorter or cannot be read.
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

  /// The bytes in `range`.
  ///
  /// - Throws: ``FileProblem`` if the file has become shorter or cannot be read.
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

  /// The whole file, of at most `limit` bytes.
  ///
  /// - Throws: ``FileProblem`` if it is larger, has become shorter or cannot be read.
  package func bytes(atMost limit: Int) throws -> [UInt8] {
    guard size <= limit else {
      throw FileProblem("has \(size) bytes; it must have at most \(limit)")
    }
    return try bytes(0..<size)
  }
}
