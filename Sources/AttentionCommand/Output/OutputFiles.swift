import AttentionCLibrary
import FoundationEssentials

/// Values as JSON for other programs. Keys are in snake_case, as in all of the tool's files, and sorted, so that
/// equal values give equal text.
enum JSON {
  static func text(_ value: some Encodable) throws -> String {
    try encoded(value, [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes])
  }

  /// On one line.
  static func line(_ value: some Encodable) throws -> String {
    try encoded(value, [.sortedKeys, .withoutEscapingSlashes])
  }

  private static func encoded(
    _ value: some Encodable, _ formatting: JSONEncoder.OutputFormatting
  ) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = formatting
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.nonConformingFloatEncodingStrategy = .convertToString(
      positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
    return String(decoding: try encoder.encode(value), as: UTF8.self)
  }
}

/// The path of a result.
enum OutputPath {
  /// Rejects a path whose folder is missing or not writable, before anything is computed.
  ///
  /// - Throws: ``CommandError`` that names the path and the reason.
  static func check(_ path: String) throws {
    guard !path.isEmpty else { throw CommandError("the output path is empty") }
    var folder = "."
    if let slash = path.lastIndex(of: "/") {
      folder = slash == path.startIndex ? "/" : String(path[..<slash])
    }
    func refused(_ code: Int32) -> CommandError {
      CommandError("\(path): the folder \(folder): \(String(cString: strerror(code)))")
    }
    var status = stat()
    guard stat(folder, &status) == 0 else { throw refused(errno) }
    guard status.st_mode & S_IFMT == S_IFDIR else { throw refused(ENOTDIR) }
    guard access(folder, W_OK | X_OK) == 0 else { throw refused(errno) }
    if stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR {
      throw CommandError("\(path): \(String(cString: strerror(EISDIR)))")
    }
  }
}
