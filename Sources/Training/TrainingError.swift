/// What stops a training run.
public enum TrainingError: Error, Equatable, CustomStringConvertible {
  /// An argument has a value it cannot have: its name, what it was and what it must be.
  case invalidArgument(_ name: String, was: String, mustBe: String)
  /// The text to train on cannot be read, or there is too little of it.
  case text(path: String, reason: String)
  /// A checkpoint cannot be continued from.
  case checkpoint(path: String, reason: String)
  /// A file or folder of the run cannot be written. What was there before is unharmed.
  case notWritten(path: String, reason: String)
  /// The loss or its gradient is no longer a number. Earlier checkpoints are unharmed.
  case diverged(step: Int, loss: Double, gradientNorm: Double)

  public var description: String {
    switch self {
    case .invalidArgument(let name, let was, let mustBe):
      return "\(name) is \(was); it must be \(mustBe)"
    case .text(let path, let reason), .checkpoint(let path, let reason):
      return "\(path): \(reason)"
    case .notWritten(let path, let reason):
      return "\(path) was not written: \(reason)"
    case .diverged(let step, let loss, let norm):
      return "training diverged at step \(step), with loss \(loss) and gradient norm \(norm); "
        + "a lower training.learning_rate may help"
    }
  }
}
