@preconcurrency import AttentionCLibrary

/// Results, which `print` collects.
enum StandardOutput {
  /// Takes the numbers of standard streams that the caller closed, so that no file that is opened later gets
  /// one, and with it what is printed. Writing to it fails, as it would.
  static func occupyClosedStreams() {
    for descriptor in [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO]
    where fcntl(descriptor, F_GETFD) < 0 {
      _ = open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY)
    }
  }

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
