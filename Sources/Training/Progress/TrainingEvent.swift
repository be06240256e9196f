/// An event of a run, reported to its caller.
public enum TrainingEvent: Sendable {
  /// The run starts, or resumes after `step` steps.
  case started(RunSummary, step: Int)
  /// The run resumes with a changed configuration.
  case changed([ConfigurationChange])
  /// The file system does not support locks: nothing keeps a second run out of the folder.
  case unlocked(folder: String)
  /// A step was done.
  case stepped(StepProgress)
  /// A group of steps is complete.
  case metrics(TrainingMetrics)
  case validated(ValidationMetrics)
  case savedCheckpoint(path: String)
  /// The run stops before its last step, as requested.
  case stopped(step: Int, steps: Int)
}

/// What a run is about to do.
public struct RunSummary: Hashable, Sendable {
  public let steps: Int
  /// The number of trainable numbers in the model.
  public let parameterCount: Int
  public let trainingBytes: Int
  public let trainingTokens: Int
  public let trainingDocuments: Int
  public let validationBytes: Int
  public let validationTokens: Int
  public let validationDocuments: Int
  public let outputDirectory: String
}

/// The progress of a run.
public struct StepProgress: Hashable, Sendable {
  /// Steps done.
  public let step: Int
  public let steps: Int
  /// The moving average over recent steps.
  public let bitsPerByte: Double
  public let tokensPerSecond: Double
  /// The most memory that tensors held at once on the run's device.
  public let memoryBytes: Int
  /// Estimated time left, with validations and checkpoints as frequent as before.
  public let timeLeft: Duration
}
