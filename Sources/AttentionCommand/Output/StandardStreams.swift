@preconcurrency import AttentionCLibrary
import AttentionCUDA

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

  /// Prints bytes as they are.
  ///
  /// - Throws: ``CommandError`` if they cannot be written.
  static func write(_ bytes: [UInt8]) throws {
    if fwrite(bytes, 1, bytes.count, stdout) < bytes.count { try flush() }
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

/// Messages for people: errors and progress.
enum StandardError {
  static func write(_ line: String) { emit(line.escaped(keeping: ["\n"]) + "\n") }

  /// Replaces the current line of a terminal; does nothing if standard error is not a terminal.
  static func progress(_ line: String) {
    guard isatty(STDERR_FILENO) != 0 else { return }
    emit("\r\u{1B}[K" + line.escaped)
  }

  /// Removes the line of ``progress(_:)``.
  static func endProgress() { progress("") }

  private static func emit(_ text: String) {
    var text = text
    text.withUTF8 { _ = AttentionCLibrary.write(STDERR_FILENO, $0.baseAddress, $0.count) }
  }
}

/// Text piped from another program or a file.
enum StandardInput {
  /// The whole input; nil if it is empty, closed, or a terminal, whose user would not know that the tool waits for
  /// input.
  ///
  /// - Throws: ``CommandError`` if it cannot be read, is not UTF-8, or is longer than any prompt.
  static func text() throws -> String? {
    guard isatty(STDIN_FILENO) == 0 else { return nil }
    var bytes: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = read(STDIN_FILENO, &piece, piece.count)
      if count < 0 {
        if errno == EINTR { continue }
        if errno == EBADF { break }
        throw CommandError(
          "standard input cannot be read: \(String(cString: strerror(errno))); give --prompt")
      }
      if count == 0 { break }
      bytes += piece[..<count]
      guard bytes.count <= mostBytes else {
        throw CommandError("standard input", was: "longer", mustBe: "of at most \(mostBytes) bytes")
      }
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw CommandError("standard input", was: "no UTF-8", mustBe: "text in UTF-8")
    }
    return text.isEmpty ? nil : text
  }

  /// A limit for endless input.
  private static let mostBytes = 64 << 20
}
