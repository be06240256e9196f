import AttentionCLibrary
import FoundationEssentials
import AttentionTensors

/// The log of a run: a JSON object a line, appended as the run goes.
struct MetricsFile {
  let path: String

  /// Begins the log anew, or continues it after `step`: lines of later steps, which a run wrote
  /// after its last checkpoint, and a line that was cut off go.
  ///
  /// - Throws: ``TrainingError/notRead(path:reason:)`` if there is a log that cannot be read: it is then
  ///   as it was. `TensorError.file(path:reason:)` if it cannot be written.
  init(path: String, continuingAfter step: Int?) throws {
    self.path = path
    let text = try RunFile.read(path) ?? Data()
    var kept = Data()
    if let step {
      for line in text.split(separator: UInt8(ascii: "\n")) {
        guard let stamp = try? JSONDecoder().decode(Stamp.self, from: line), stamp.step <= step
        else { continue }
        kept += line + [UInt8(ascii: "\n")]
      }
    }
    try AtomicFile.write(String(decoding: kept, as: UTF8.self), to: path, onlyRegular: true)
  }

  func append(_ line: some Encodable) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    let text = try encoder.encode(line) + [UInt8(ascii: "\n")]
    let flags = O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC
    let file = open(path, flags, 0o644)
    guard file >= 0 else { throw TrainingError.notWritten(path: path) }
    do { try write(text, to: file) } catch {
      close(file)
      throw error
    }
    guard close(file) == 0 else { throw TrainingError.notWritten(path: path) }
  }

  private struct Stamp: Decodable { let step: Int }

  private func write(_ text: Data, to file: Int32) throws {
    var rest = text[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { AttentionCLibrary.write(file, $0.baseAddress, $0.count) }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { throw TrainingError.notWritten(path: path) }
      rest = rest.dropFirst(count)
    }
  }
}
