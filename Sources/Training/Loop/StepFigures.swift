import AttentionTensors

/// What a step reports, on its way to the processor: a device that computes it goes on meanwhile.
struct StepFigures: Sendable {
  /// The number of the step, from 1.
  let step: Int
  private let loss: PendingElements
  private let clip: PendingElements

  init(step: Int, loss: Tensor, clip: GradientClip) throws {
    self.step = step
    self.loss = try loss.pendingElements()
    self.clip = try clip.figures.pendingElements()
  }

  struct Values {
    /// The loss of the batch in nats a token, before the step.
    let loss: Double
    /// The norm of all gradients together, before clipping.
    let gradientNorm: Double
  }

  /// Waits for the figures.
  ///
  /// - Throws: ``TrainingError/diverged(step:loss:gradientNorm:)`` if one is no number.
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
