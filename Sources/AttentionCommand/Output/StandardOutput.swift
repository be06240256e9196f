@preconcurrency import AttentionCLibrary

/// Results, which `print` buffers.
enum StandardOutput {
  /// Occupies the descriptors of standard streams that the caller closed, so that no file opened later receives
  /// one of them and with it the output. Writing to such a descriptor fails, as it should.
  static func occupyClosedStreams() {
    for descriptor in [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO]
    where fcntl(descriptor, F_GETFD) < 0 {
      _ = open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY)
    }
  }

  /// Writes what has been printed so far.
  ///
  /// - Throws: ``CommandError`` if any output could not be written, for example because the disk is full or the
  ///   reader has gone.
  static func flush() throws {
    let code = fflush(stdout) == 0 ? 0 : errno
    guard code == 0, ferror(stdout) == 0 else {
      throw CommandError(
        "standard output cannot be written"
          + (code == 0 ? "" : ": \(String(cString: strerror(code)))"))
    }
  }
}
