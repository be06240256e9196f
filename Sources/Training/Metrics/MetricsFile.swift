import FoundationEssentials
import Glibc
import Tensors

/// The log of a run: a JSON object a line, appended as the run goes.
struct MetricsFile {
  let path: String

  /// Begins the log anew, or continues it after `step`: lines of later steps, which a run wrote
  /// after its last checkpoint, and a line that was cut off go.
  init(path: String, continuingAfter step: Int?) throws {
    self.path = path
    var kept = Data()
    if let step, let text = try? Data(contentsOf: URL(filePath: path)) {
      for line in text.split(separator: UInt8(ascii: "\n")) {
        guard let stamp = try? JSONDecoder().decode(Stamp.self, from: line), stamp.step <= step
        else { continue }
        kept += line + [UInt8(ascii: "\n")]
      }
    }
    try AtomicFile.write(String(decoding: kept, as: UTF8.self), to: path)
  }

  func append(_ line: some Encodable) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    let text = try encoder.encode(line) + [UInt8(ascii: "\n")]
    let file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o644)
    guard file >= 0 else { throw failure() }
    defer { close(file) }
    let written = text.withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
    guard written == text.count else { throw failure() }
  }

  private struct Stamp: Decodable { let step: Int }

  private func failure() -> TrainingError {
    .notWritten(path: path, reason: String(cString: strerror(errno)))
  }
}
