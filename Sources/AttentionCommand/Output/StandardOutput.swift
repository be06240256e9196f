@preconcurrency import Glibc

/// Results, which `print` collects.
enum StandardOutput {
  /// Hands on what was printed until now.
  ///
  /// - Throws: ``CommandError`` if that, or anything printed before, could not be written: the disk is full,
  ///   or nobody reads.
  static func flush() throws {
    let code = fflush(stdout) == 0 ? 0 : errno
    guard code == 0, ferror(stdout) == 0 else {
      throw CommandError(
        "standard output cannot be written"
          + (code == 0 ? "" : ": \(String(cString: strerror(code)))"))
    }
  }
}
