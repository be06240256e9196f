import AttentionCLibrary

/// The learning rate of each step: a linear warm-up, then half a cosine.
///
///     step < warmup:  peak · (step + 1) / warmup
///     else:           minimum + (peak − minimum) · (1 + cos(π · progress)) / 2
///
/// with progress running from 0 at the end of the warm-up to 1 at `steps`, and 1 afterwards.
public struct LearningRateSchedule: Hashable, Sendable {
  public let peak: Double
  public let minimum: Double
  public let warmupSteps: Int
  public let steps: Int

  public init(peak: Double, minimum: Double, warmupSteps: Int, steps: Int) {
    self.peak = peak
    self.minimum = minimum
    self.warmupSteps = warmupSteps
    self.steps = steps
  }

  /// The learning rate of the step taken after `step` others.
  public func rate(at step: Int) -> Double {
    guard step >= warmupSteps else { return peak * Double(step + 1) / Double(warmupSteps) }
    let progress = Double(step - warmupSteps) / Double(max(1, steps - warmupSteps))
    return minimum + (peak - minimum) * (1 + cos(Double.pi * min(1, progress))) / 2
  }
}
