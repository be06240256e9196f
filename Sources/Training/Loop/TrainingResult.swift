import AttentionTensors

/// The figures of a step on their way to the host: a GPU continues with its work meanwhile.
struct StepFigures: Sendable {
  /// The number of the step, counted from 1.
  let step: Int
  private let loss: PendingElements
  private let clip: PendingElements

  init(step: Int, loss: Tensor, clip: GradientClip) throws {
    self.step = step
    self.loss = try loss.pendingElements()
    self.clip = try clip.figures.pendingElements()
  }

  struct Values {
    /// The loss of the batch in nats per token, before the update.
    let loss: Double
    /// The global norm of the gradients, before clipping.
    let gradientNorm: Double
  }

  /// Waits for the figures.
  ///
  /// - Throws: ``TrainingError/diverged(step:loss:gradientNorm:)`` if one is not finite.
  func values() throws -> Values {
    let values = Values(
      loss: try loss.elements()[0], gradientNorm: try clip.elements()[0])
    guard values.loss.isFinite, values.gradientNorm.isFinite else {
      throw TrainingError.diverged(
        step: step, loss: values.loss, gradientNorm: values.gradientNorm)
    }
    return values
  }
}

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
