import AttentionTensors

/// How a run ended.
public struct TrainingResult: Hashable, Sendable {
  /// Steps done, including those before the run was resumed.
  public let step: Int
  /// Whether all steps are done; if not, the run was stopped and can be resumed.
  public let isComplete: Bool
  /// The folder of the last checkpoint.
  public let checkpoint: String?
  /// The path of the loss curve's image.
  public let picture: String
  public let curve: LossCurve

  /// The last validation loss; nil if the run was stopped before the first.
  public var validationBitsPerByte: Double? { curve.validation.last?.bitsPerByte }

  /// The last line that the command prints: `validation 2.31 bits per byte`.
  public var lastLine: String {
    guard let validationBitsPerByte else { return "not validated yet" }
    return "validation \(validationBitsPerByte.text(digits: 2)) bits per byte"
  }
}
