import AttentionCLibrary

/// The lines of a file or of standard input, one after the other.
struct LineReader: ~Copyable {
  private let path: String
  private let file: UnsafeMutablePointer<FILE>
  private var buffer: UnsafeMutablePointer<CChar>?
  private var capacity = 0
  /// The number of the last line, from 1.
  private var number = 0

  /// - Parameter path: the file; `-` is standard input.
  /// - Throws: ``CommandError`` if it cannot be opened.
  init(path: String) throws {
    self.path = path
    guard let file = path == "-" ? fdopen(dup(STDIN_FILENO), "r") : fopen(path, "re") else {
      throw CommandError("\(path): \(String(cString: strerror(errno)))")
    }
    self.file = file
  }

  deinit {
    free(buffer)
    fclose(file)
  }

  /// The next line without its line break; nil at the end.
  ///
  /// - Throws: ``CommandError`` if the file cannot be read.
  mutating func next() throws -> [UInt8]? {
    errno = 0
    let count = getline(&buffer, &capacity, file)
    guard count >= 0, let buffer else {
      guard ferror(file) == 0, feof(file) != 0 else {
        throw CommandError("\(path): \(String(cString: strerror(errno)))")
      }
      return nil
    }
    number += 1
    var line = Array(UnsafeRawBufferPointer(start: buffer, count: count))
    if line.last == UInt8(ascii: "\n") { line.removeLast() }
    return line
  }

  /// An error in the last line.
  func error(_ reason: String) -> CommandError {
    CommandError("\(path), line \(number): \(reason)")
  }
}
