import AttentionTensors
import Synchronization

/// Chooses the kernel for a problem: among those without an objection the one with the lowest estimate.
///
/// A pure function of the problem, the kernels and the machine's rates. Nothing falls back silently:
/// a kernel asked for by name runs, or its objection is thrown.
public enum KernelSelector {
  /// The verdict of `kernels` on `problem`.
  ///
  /// - Parameters:
  ///   - problem: the problem, with its device.
  ///   - kernels: the operator's kernels; among equal estimates the earlier wins.
  ///   - forced: the name of the requested kernel; nil for the one with the lowest estimate.
  ///   - rates: the machine's rates for the estimates; nil for the nominal rates of the device.
  /// - Throws: ``AttentionError/unknownKernel(_:known:)`` if no kernel has the forced name.
  public static func explain<Op: Operator>(
    _ problem: Op.Problem, kernels: [any OperatorKernel<Op>], forced: String? = nil,
    rates: MachineRates? = nil
  ) throws -> Explanation {
    if let forced, !kernels.contains(where: { $0.name == forced }) {
      throw AttentionError.unknownKernel(forced, known: kernels.map(\.name))
    }
    let rates = rates ?? .nominal(of: problem.device)
    let candidates = kernels.map { kernel -> Explanation.Candidate in
      if let objection = kernel.objection(to: problem.device) ?? kernel.objection(to: problem) {
        return .init(kernel: kernel.name, objection: objection, cost: nil, seconds: nil)
      }
      let cost = kernel.cost(of: problem)
      return .init(
        kernel: kernel.name, objection: nil, cost: cost, seconds: cost.seconds(on: rates))
    }
    let ranked = candidates.enumerated().sorted {
      ($0.element.seconds ?? .infinity, $0.offset) < ($1.element.seconds ?? .infinity, $1.offset)
    }.map(\.element)
    let able = ranked.filter { $0.objection == nil }.map(\.kernel)
    return Explanation(
      operation: Op.name, problem: problem.description,
      chosen: forced == nil ? able.first : able.first { $0 == forced }, forced: forced,
      candidates: ranked)
  }
}

/// The explanation of a verdict, with the chosen kernel.
final class Verdict<Op: Operator>: Sendable {
  let explanation: Explanation
  private let chosen: (any OperatorKernel<Op>)?

  init(_ explanation: Explanation, chosen: (any OperatorKernel<Op>)?) {
    self.explanation = explanation
    self.chosen = chosen
  }

  /// The chosen kernel.
  ///
  /// - Throws: ``AttentionError/kernelObjects(_:_:)`` if the requested kernel cannot run,
  ///   ``AttentionError/noKernel(_:)`` if none can.
  func kernel() throws -> any OperatorKernel<Op> {
    if let chosen { return chosen }
    if let forced = explanation.forced,
      let objection = explanation.candidates.first(where: { $0.kernel == forced })?.objection
    {
      throw AttentionError.kernelObjects(forced, objection)
    }
    throw AttentionError.noKernel(explanation)
  }
}

/// The kernels of an operator, and the choice between them.
public final class KernelRegistry<Op: Operator>: Sendable {
  /// Everything that a verdict depends on besides the kernels. The instruction set may change between calls,
  /// and so may the number of threads, which affects only the extra memory of kernels.
  private struct Question: Hashable, Sendable {
    let problem: Op.Problem
    let forced: String?
    let threads: Int
    let instructions: InstructionSet
  }

  /// Kernels with their cached verdicts: computing a verdict and its text takes longer than many short calls.
  private final class Candidates: Sendable {
    let kernels: [any OperatorKernel<Op>]
    let verdicts = Remembered<Question, Verdict<Op>>()

    init(_ kernels: [any OperatorKernel<Op>]) { self.kernels = kernels }
  }

  private let candidates: Mutex<Candidates>
  /// The operator's tables, read once for all calls.
  @usableFromInline
  let inputs = Op.Input.allCases
  @usableFromInline
  let facts = Op.Input.allCases.map(\.facts)
  @usableFromInline
  let results = Op.Output.allCases.filter(\.isResult)

  /// - Parameter kernels: those of the package; of equal estimates the earlier wins.
  public init(_ kernels: [any OperatorKernel<Op>]) { candidates = Mutex(Candidates(kernels)) }

  var kernels: [any OperatorKernel<Op>] { candidates.withLock { $0 }.kernels }

  func register(_ kernel: any OperatorKernel<Op>) throws {
    try candidates.withLock { candidates in
      guard !candidates.kernels.contains(where: { $0.name == kernel.name }) else {
        throw AttentionError.invalidArgument(
          "kernel", was: kernel.name, mustBe: "unique among the kernels of \(Op.name)")
      }
      candidates = Candidates(candidates.kernels + [kernel])
    }
  }

  /// The verdict on `problem`.
  ///
  /// - Parameter forced: the name of the requested kernel; nil for the one with the lowest estimate.
  /// - Throws: ``AttentionError/unknownKernel(_:known:)`` if no kernel has the forced name.
  func verdict(on problem: Op.Problem, _ forced: String?) throws -> Verdict<Op> {
    let candidates = candidates.withLock { $0 }
    let question = Question(
      problem: problem, forced: forced, threads: Threads.count, instructions: .current)
    return try candidates.verdicts.value(of: question) {
      let explanation = try KernelSelector.explain(
        problem, kernels: candidates.kernels, forced: forced)
      return Verdict(
        explanation, chosen: candidates.kernels.first { $0.name == explanation.chosen })
    }
  }
}

/// Cached values of a pure function of their keys, so that short calls do not recompute them.
final class Remembered<Key: Hashable & Sendable, Value: Sendable>: Sendable {
  /// The capacity; only calls that are never repeated exceed it.
  private static var limit: Int { 1024 }

  private struct State {
    var values: [Key: Value] = [:]
    /// The key requested last: comparing a key is faster than hashing it.
    var latestKey: Key?
    var latestValue: Value?

    mutating func find(_ key: Key) -> Value? {
      if latestKey == key { return latestValue }
      guard let known = values[key] else { return nil }
      (latestKey, latestValue) = (key, known)
      return known
    }
  }

  private let state = Mutex(State())

  /// The value of `key`, computed by `make` if it is not cached. Errors are not cached.
  func value(of key: Key, make: () throws -> Value) rethrows -> Value {
    if let known = state.withLock({ $0.find(key) }) { return known }
    let value = try make()
    state.withLock { state in
      if state.values.count >= Self.limit { state.values = [:] }
      state.values[key] = value
    }
    return value
  }
}
