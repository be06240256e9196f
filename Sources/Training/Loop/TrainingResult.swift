import AttentionTensors

/// How a run ended.
public struct TrainingResult: Hashable, Sendable {
  /// Steps done, those of earlier runs that were continued included.
  public let step: Int
  /// Whether all steps are done. If not, the run was stopped and can be continued.
  public let isComplete: Bool
  /// The folder of the last checkpoint.
  public let checkpoint: String?
  /// The file of the loss curve.
  public let picture: String
  public let curve: LossCurve

  /// The last figure on held-out text; nil if the run was stopped before the first.
  public var validationBitsPerByte: Double? { curve.validation.last?.bitsPerByte }

  /// What the command prints last: `validation 2.31 bits per byte`.
  public var lastLine: String {
    guard let validationBitsPerByte else { return "not validated yet" }
    return "validation \(validationBitsPerByte.text(digits: 2)) bits per byte"
  }
}
