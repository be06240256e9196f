import AttentionCLibrary

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
