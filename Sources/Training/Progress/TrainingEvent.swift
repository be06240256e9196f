/// What a run tells its caller while it goes.
public enum TrainingEvent: Sendable {
  /// The run begins, or continues after `step` steps.
  case started(RunSummary, step: Int)
  /// The run continues with other values than it had.
  case changed([ConfigurationChange])
  /// The file system has no locks: nothing keeps a second run out of the folder.
  case unlocked(folder: String)
  /// A step was done.
  case stepped(StepProgress)
  /// A group of steps is complete.
  case metrics(TrainingMetrics)
  case validated(ValidationMetrics)
  case savedCheckpoint(path: String)
  /// The run ends before its last step, because it was asked to.
  case stopped(step: Int, steps: Int)
}

/// What a run is about to do.
public struct RunSummary: Hashable, Sendable {
  public let steps: Int
  /// How many numbers the model learns.
  public let parameterCount: Int
  public let trainingBytes: Int
  public let trainingDocuments: Int
  public let validationBytes: Int
  public let validationDocuments: Int
  public let outputDirectory: String
}

/// How far a run is.
public struct StepProgress: Hashable, Sendable {
  /// Steps done.
  public let step: Int
  public let steps: Int
  /// The mean of the last steps.
  public let bitsPerByte: Double
  public let tokensPerSecond: Double
  /// The most memory that tensors took at a time, of the device that the run is on.
  public let memoryBytes: Int
  /// How long the rest will take, validation and checkpoints counted as often as before.
  public let timeLeft: Duration
}
