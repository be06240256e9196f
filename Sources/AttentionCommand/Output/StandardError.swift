import AttentionCLibrary
import AttentionCUDA

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
