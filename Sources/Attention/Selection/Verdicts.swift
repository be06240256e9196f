import AttentionTensors

/// What is asked of an operator, as kernels judge it.
protocol OperatorProblem: Hashable, Sendable, CustomStringConvertible {
  /// Where it is to be solved.
  var device: Device { get }
}

/// The explanation of a verdict with the kernel that it chooses.
final class Verdict<K: Sendable>: Sendable {
  let explanation: Explanation
  private let chosen: K?

  init(_ explanation: Explanation, chosen: K?) {
    self.explanation = explanation
    self.chosen = chosen
  }

  /// The chosen kernel.
  ///
  /// - Throws: ``AttentionError/kernelObjects(_:_:)`` if the kernel asked for cannot run,
  ///   ``AttentionError/noKernel(_:)`` if none can.
  func kernel() throws -> K {
    if let chosen { return chosen }
    if let forced = explanation.forced,
      let objection = explanation.candidates.first(where: { $0.kernel == forced })?.objection
    {
      throw AttentionError.kernelObjects(forced, objection)
    }
    throw AttentionError.noKernel(explanation)
  }
}

/// The verdicts of an operator. Each is worked out once: to judge a problem and to put it into words takes
/// longer than many a short call.
final class Verdicts<Problem: OperatorProblem, K: Sendable>: Sendable {
  /// All that a verdict depends on. Instructions, and threads, by which only the memory that kernels say
  /// they take is counted, may change between two calls.
  private struct Question: Hashable, Sendable {
    let problem: Problem
    let forced: String?
    let threads: Int
    let instructions: InstructionSet
  }

  private let operation: String
  private let kernels: [K]
  private let judges: [any Kernel<Problem>]
  private let known = Remembered<Question, Verdict<K>>()

  /// - Parameters:
  ///   - operation: the operator's name.
  ///   - kernels: its kernels; of equal estimates the earlier wins.
  ///   - judge: a kernel as the selector sees it.
  init(_ operation: String, _ kernels: [K], judge: (K) -> any Kernel<Problem>) {
    self.operation = operation
    self.kernels = kernels
    judges = kernels.map(judge)
  }

  /// The verdict on `problem`.
  ///
  /// - Parameter forced: the name of the kernel to take, or nil for the cheapest.
  /// - Throws: ``AttentionError/unknownKernel(_:known:)`` if no kernel has the forced name.
  func verdict(on problem: Problem, _ forced: String?) throws -> Verdict<K> {
    let question = Question(
      problem: problem, forced: forced, threads: Threads.count, instructions: .current)
    return try known.value(of: question) {
      let explanation = try Selector.explain(
        operation, problem, description: problem.description, kernels: judges, forced: forced,
        device: problem.device)
      let place = judges.firstIndex { $0.name == explanation.chosen }
      return Verdict(explanation, chosen: place.map { kernels[$0] })
    }
  }
}
