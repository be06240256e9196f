import AttentionCLibrary
import AttentionCUDA

/// Lines for people beside the results: mistakes and progress.
enum StandardError {
  static func write(_ line: String) { emit(line.escaped(keeping: ["\n"]) + "\n") }

  /// Replaces the line under the cursor where a terminal shows it; elsewhere nothing is written.
  static func progress(_ line: String) {
    guard isatty(STDERR_FILENO) != 0 else { return }
    emit("\r\u{1B}[K" + line.escaped)
  }

  /// Removes what ``progress(_:)`` left.
  static func endProgress() { progress("") }

  private static func emit(_ text: String) {
    var text = text
    text.withUTF8 { _ = AttentionCLibrary.write(STDERR_FILENO, $0.baseAddress, $0.count) }
  }
}
