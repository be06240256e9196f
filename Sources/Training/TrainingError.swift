import AttentionCUDA
import AttentionCLibrary
import AttentionTensors

/// A failure of a training run.
public enum TrainingError: Error, Equatable, CustomStringConvertible {
  /// An invalid argument: its name, what it was and what it must be.
  case invalidArgument(_ name: String, was: String, mustBe: String)
  /// The text to train on cannot be read, or is too short.
  case text(path: String, reason: String)
  /// A checkpoint cannot be resumed from, or something else has its name.
  case checkpoint(path: String, reason: String)
  /// Another run uses the folder. `by` identifies it, as "process 4711 on alpha since …".
  case inUse(folder: String, by: String)
  /// A file of the run cannot be read. Nothing was changed.
  case notRead(path: String, reason: String)
  /// A file or folder of the run cannot be written. Earlier contents are unharmed.
  case notWritten(path: String, reason: String)
  /// The run needs more memory than the machine or a limit allows.
  case outOfMemory(_ purpose: String, neededBytes: Int, availableBytes: Int)
  /// The loss or its gradient is no longer finite. Earlier checkpoints are unharmed.
  case diverged(step: Int, loss: Double, gradientNorm: Double)
  /// The loss on held-out text is no longer finite. Earlier checkpoints are unharmed.
  case validationDiverged(step: Int, loss: Double)

  public var description: String {
    switch self {
    case .invalidArgument(let name, let was, let mustBe):
      return "\(name.shown) is \(was.shown); it must be \(mustBe.shown)"
    case .text(let path, let reason), .checkpoint(let path, let reason),
      .notRead(let path, let reason):
      return "\(path.shown): \(reason.shown)"
    case .inUse(let folder, let holder):
      return "\(folder.shown) is in use by \(holder.shown); "
        + "wait until that run ends or choose another training.output_directory"
    case .notWritten(let path, let reason):
      return "\(path.shown) was not written: \(reason.shown)"
    case .outOfMemory(let purpose, let needed, let available):
      return "\(purpose) at least \(Quantity.bytes(needed)) of memory; "
        + "\(Quantity.bytes(available)) are available"
    case .diverged(let step, let loss, let norm):
      return "training diverged at step \(step), with loss \(loss) and gradient norm \(norm); "
        + Self.remedy
    case .validationDiverged(let step, let loss):
      return "training diverged: the validation loss after step \(step) is \(loss); " + Self.remedy
    }
  }

  private static let remedy =
    "a lower training.learning_rate may help, from the last checkpoint or with --start-over"

  /// ``checkpoint(path:reason:)`` for a run that must start over.
  static func cannotContinue(_ path: String, because reason: String) -> TrainingError {
    .checkpoint(
      path: path,
      reason: "the run cannot be resumed, \(reason); use --start-over, or another "
        + "training.output_directory to keep it")
  }

  /// ``notWritten(path:reason:)`` with the text of `errno`.
  static func notWritten(path: String) -> TrainingError {
    .notWritten(path: path, reason: systemReason)
  }

  /// Files of a run are opened without following symbolic links, for which `errno` is ELOOP.
  private static var systemReason: String {
    errno == ELOOP ? "it is a symbolic link" : String(cString: strerror(errno))
  }
}
