import AttentionTensors

/// Chooses the kernel for a problem: of those without an objection the one with the lowest estimate.
///
/// A pure function of the problem, the kernels and the machine's rates. Nothing falls back silently:
/// a kernel asked for by name runs, or its objection is thrown.
public enum Selector {
  /// The verdict of `kernels` on `problem`.
  ///
  /// - Parameters:
  ///   - operation: the operator's name.
  ///   - problem: what is to be solved.
  ///   - description: the problem in words.
  ///   - kernels: the operator's kernels; of equal estimates the earlier wins.
  ///   - forced: the name of the kernel to take, or nil for the cheapest.
  ///   - device: where the problem is to be solved.
  ///   - rates: what the machine can do, for the estimates; nil for the nominal rates of the device.
  /// - Throws: ``AttentionError/unknownKernel(_:known:)`` if no kernel has the forced name.
  public static func explain<Problem>(
    _ operation: String, _ problem: Problem, description: String,
    kernels: [any Kernel<Problem>], forced: String? = nil, device: Device = .cpu,
    rates: MachineRates? = nil
  ) throws -> Explanation {
    if let forced, !kernels.contains(where: { $0.name == forced }) {
      throw AttentionError.unknownKernel(forced, known: kernels.map(\.name))
    }
    let rates = rates ?? .nominal(of: device)
    let candidates = kernels.map { kernel -> Explanation.Candidate in
      if let objection = kernel.objection(to: device) ?? kernel.objection(to: problem) {
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
      operation: operation, problem: description,
      chosen: forced == nil ? able.first : able.first { $0 == forced }, forced: forced,
      candidates: ranked)
  }
}
