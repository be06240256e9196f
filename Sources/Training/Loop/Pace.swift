/// Measures the speed of a run.
struct Pace {
  private let clock = ContinuousClock()
  private let began: ContinuousClock.Instant
  private let firstStep: Int
  private let bytesPerToken: Double
  private var groupTokens = 0
  private var groupTime = Duration.zero
  /// Time already spent on the next step.
  private var timeAhead = Duration.zero
  /// Exponential moving averages of the rate and the loss.
  private var recentRate: Double?
  private var recentLoss: Double?

  /// Weight of a new step in the moving averages.
  private static let newShare = 0.1

  init(firstStep: Int, bytesPerToken: Double) {
    self.bytesPerToken = bytesPerToken
    began = clock.now
    self.firstStep = firstStep
  }

  /// Runs a step and measures it. `body` returns the loss of the latest step for which it is known.
  mutating func measure(tokens: Int, _ body: () throws -> Double?) rethrows {
    let start = clock.now
    let loss = try body()
    let time = clock.now - start + timeAhead
    timeAhead = .zero
    groupTokens += tokens
    groupTime += time
    let rate = Double(tokens) / max(time.seconds, 1e-9)
    recentRate = recentRate.map { $0 + (rate - $0) * Self.newShare } ?? rate
    guard let loss else { return }
    recentLoss = recentLoss.map { $0 + (loss - $0) * Self.newShare } ?? loss
  }

  /// Measures a part of the next step that is done in advance.
  mutating func measureAhead(_ body: () throws -> Void) rethrows {
    let start = clock.now
    try body()
    timeAhead += clock.now - start
  }

  /// Tokens per second over the steps since the last call.
  mutating func finishGroup() -> Double {
    defer { (groupTokens, groupTime) = (0, .zero) }
    return Double(groupTokens) / max(groupTime.seconds, 1e-9)
  }

  func progress(step: Int, of steps: Int, memoryBytes: Int) -> StepProgress {
    let each = (clock.now - began) / max(1, step - firstStep)
    return StepProgress(
      step: step, steps: steps,
      bitsPerByte: bitsPerByte(nats: recentLoss ?? 0, bytesPerToken: bytesPerToken),
      tokensPerSecond: recentRate ?? 0, memoryBytes: memoryBytes,
      timeLeft: each * max(0, steps - step))
  }
}
