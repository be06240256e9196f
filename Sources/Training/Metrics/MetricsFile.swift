import AttentionCLibrary
import FoundationEssentials
import AttentionTensors

/// The log of a run: one JSON object per line, appended during the run.
struct MetricsFile {
  let path: String

  /// Starts a new log, or continues one after `step`: lines of later steps, which a run wrote after its last
  /// checkpoint, and a truncated last line are removed.
  ///
  /// - Throws: ``TrainingError/notRead(path:reason:)`` if the log cannot be read, in which case it is
  ///   unchanged; `TensorError.file(path:reason:)` if it cannot be written.
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
