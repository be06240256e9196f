import AttentionConformance
import AttentionTensors

/// Runs contenders in turns, so that a disturbance of the machine affects all of them.
struct Race {
  /// Seconds for all turns of a race together; at least ``leastTurns`` are run.
  let budget: Double
  let timer: TurnTimer

  private static let leastTurns = 3
  private static let mostTurns = 25
  /// A turn repeats a short run until it takes about this long, in seconds.
  private static let shortestTurn = 2e-3
  private static let mostRepetitions = 200
  /// The relative difference allowed between the results of kernels, which are checked before timing.
  private static let agreement = 0.05

  /// - Throws: the error of a contender, or ``CommandError`` if the results of two differ.
  func run(_ contenders: [Contender], _ task: RaceTask, peak: Double) throws -> [BenchRow] {
    let start = ContinuousClock.now
    let trials = try contenders.map { try Trial($0, timer) }
    try checkAgreement(contenders, trials)
    var seconds = contenders.map { _ in [Double]() }
    var turn = 0
    while turn < Self.leastTurns
      || (turn < Self.mostTurns && (ContinuousClock.now - start).seconds < budget)
    {
      for (index, contender) in contenders.enumerated() {
        guard !timer.measuresSingleCalls else {
          seconds[index].append(try timer.coldSeconds { _ = try contender.run() })
          continue
        }
        let repetitions = trials[index].repetitions(
          shortestTurn: Self.shortestTurn, most: Self.mostRepetitions)
        seconds[index].append(try timer.seconds(repetitions) { _ = try contender.run() })
      }
      turn += 1
    }
    return contenders.indices.map { index in
      BenchRow(
        task, kernel: contenders[index].kernel, seconds: seconds[index],
        extraMemory: trials[index].extraMemory, peak: peak)
    }
  }

  private func checkAgreement(_ contenders: [Contender], _ trials: [Trial]) throws {
    for (contender, trial) in zip(contenders, trials).dropFirst() {
      for (result, first) in zip(trial.results, trials[0].results) {
        let deviation = try Deviation(of: result, from: first)
        guard deviation.difference <= Self.agreement * deviation.size else {
          throw CommandError(
            "\(contender.kernel) and \(contenders[0].kernel) do not agree; run attention verify")
        }
      }
    }
  }
}

/// The first run of a contender: a warm-up that provides the results and the memory.
private struct Trial {
  /// A sample of each result, small enough to keep and compare.
  let results: [Tensor]
  let extraMemory: Int
  private let seconds: Double

  /// Rows of a result that are compared.
  private static let comparedRows = 256

  init(_ contender: Contender, _ timer: TurnTimer) throws {
    let before = timer.resetPeak()
    var outputs: [Tensor] = []
    seconds = try timer.coldSeconds { outputs = try contender.run() }
    extraMemory = max(
      0, timer.peakBytes - before - outputs.reduce(0) { $0 + $1.byteCount })
    results = try outputs.map { output in
      guard output.rank > 1, output.shape[1] > Self.comparedRows else {
        return try output.moved(to: .cpu)
      }
      return try output.sliced(1, output.shape[1] - Self.comparedRows..<output.shape[1])
        .moved(to: .cpu).cast(to: .float64)
    }
  }

  func repetitions(shortestTurn: Double, most: Int) -> Int {
    max(1, min(most, Int(shortestTurn / max(seconds, 1e-9))))
  }
}
