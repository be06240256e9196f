import AttentionCUDA
import FoundationEssentials
import AttentionCLibrary
import AttentionLanguageModels
import AttentionTensors

/// The files that a run keeps in its folder beside the checkpoints.
///
/// They are regular files: what is a symbolic link, a pipe or a folder in their place was put there by
/// somebody else, and is neither read nor written.
enum RunFile: String, CaseIterable {
  case metrics = "metrics.jsonl"
  case picture = "loss.svg"
  /// The configuration that the run has now.
  case configuration = "configuration.json"
  /// All configurations that it had.
  case history = "configurations.jsonl"

  func path(in folder: String) -> String { folder + "/" + rawValue }

  /// - Throws: `TensorError.file(path:reason:)` for the first name that something else has.
  static func requireRegular(in folder: String) throws {
    for file in allCases { try AtomicFile.requireRegular(file.path(in: folder)) }
  }

  /// The bytes of a regular file; nil if there is none.
  ///
  /// - Throws: ``TrainingError/notRead(path:reason:)``.
  static func read(_ path: String) throws -> Data? {
    do {
      try AtomicFile.requireRegular(path)
      guard access(path, F_OK) == 0 || errno != ENOENT else { return nil }
      return Data(
        try RegularFile(path: Array(path.utf8), followsLinks: false)
          .bytes(atMost: MachineMemory.bytes))
    } catch TensorError.file(_, let reason) {
      throw TrainingError.notRead(path: path, reason: reason)
    } catch let problem as FileProblem {
      throw TrainingError.notRead(path: path, reason: problem.reason)
    }
  }

  /// Writes a file of `folder` whole, where it is not as it should be already.
  ///
  /// - Throws: `TensorError.file(path:reason:)`.
  func update(_ text: String, in folder: String) throws {
    let path = path(in: folder)
    guard try Self.read(path) != Data(text.utf8) else { return }
    try AtomicFile.write(text, to: path, onlyRegular: true)
  }
}
