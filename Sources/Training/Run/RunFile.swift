import AttentionCUDA
import FoundationEssentials
import AttentionCLibrary
import AttentionLanguageModels
import AttentionTensors

/// The files of a run in its folder, besides the checkpoints.
///
/// They are regular files: a symbolic link, a pipe or a folder of one of these names is not the run's, and
/// is neither read nor written.
enum RunFile: String, CaseIterable {
  case metrics = "metrics.jsonl"
  case picture = "loss.svg"
  /// The current configuration.
  case configuration = "configuration.json"
  /// All configurations that the run has had.
  case history = "configurations.jsonl"

  func path(in folder: String) -> String { folder + "/" + rawValue }

  /// - Throws: `TensorError.file(path:reason:)` for the first name that is not a regular file.
  static func requireRegular(in folder: String) throws {
    for file in allCases { try AtomicFile.requireRegular(file.path(in: folder)) }
  }

  /// The bytes of a regular file; nil if there is none.
  ///
  /// - Throws: ``TrainingError/notRead(path:reason:)`` if it cannot be read or is not regular.
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

  /// Writes a whole file of `folder`, unless it already has these contents.
  ///
  /// - Throws: `TensorError.file(path:reason:)` if it cannot be written.
  func update(_ text: String, in folder: String) throws {
    let path = path(in: folder)
    guard try Self.read(path) != Data(text.utf8) else { return }
    try AtomicFile.write(text, to: path, onlyRegular: true)
  }
}
