import AttentionTensors

/// The whole verdict on a problem: each kernel with its estimate or its objection, and the choice.
public struct Explanation: Hashable, Sendable, Codable, CustomStringConvertible {
  public struct Candidate: Hashable, Sendable, Codable {
    public let kernel: String
    public let objection: Objection?
    public let cost: Cost?
    /// The estimate; nil if there is an objection, or only one kernel.
    public let seconds: Double?
  }

  /// The operator, as `attention`.
  public let operation: String
  /// The problem in words.
  public let problem: String
  /// The kernel that runs; nil if none can.
  public let chosen: String?
  /// The kernel that the caller requested, if any.
  public let forced: String?
  /// All kernels of the operator: first those that can run, by rising estimate.
  public let candidates: [Candidate]

  /// One line: the choice and the reason.
  public var description: String {
    guard let chosen else {
      return "\(operation) of \(problem): no kernel; "
        + candidates.map { "\($0.kernel): \($0.objection?.reason ?? "")" }.joined(separator: "; ")
    }
    let note = candidates.first { $0.kernel == chosen }?.cost?.note
    return "\(operation) of \(problem): \(chosen), "
      + (forced != nil ? "as requested" : "the lowest estimate") + (note.map { ": \($0)" } ?? "")
  }
}

extension Explanation.Candidate {
  /// The only kernel of an operation, which runs without a choice.
  public init(running kernel: String) {
    self.init(kernel: kernel, objection: nil, cost: nil, seconds: nil)
  }
}

/// A verdict formatted as a table.
package struct ExplanationTable {
  private let explanation: Explanation

  package init(_ explanation: Explanation) { self.explanation = explanation }

  /// The choice in one line, then a row per kernel: those that can run, by rising estimate, with notes on the
  /// estimate, then the others with their objections. Kernels with the same objection, such as those for
  /// another device, share a line at the end.
  package func text(width: Int = 100) -> String {
    var table = TextTable([
      "": .left, "kernel": .left, "estimate": .right, "extra memory": .right, "why": .left,
    ])
    let objectors = Dictionary(grouping: explanation.candidates) { $0.objection }
    var shared: [String] = []
    for candidate in explanation.candidates {
      if let objection = candidate.objection, let alike = objectors[objection], alike.count > 1 {
        guard alike.first == candidate else { continue }
        let names = alike.map(\.kernel).joined(separator: ", ")
        shared += TextTable.wrap("\(names): \(objection)", width - Self.indent.count)
        continue
      }
      table.append([
        candidate.kernel == explanation.chosen ? ">" : "", candidate.kernel,
        candidate.seconds.map(Quantity.seconds) ?? "-",
        candidate.cost.map { Quantity.bytes($0.extraMemory) } ?? "-",
        candidate.objection?.reason ?? candidate.cost?.note ?? "",
      ])
    }
    let choice =
      explanation.chosen == nil ? "\(explanation.operation): no kernel" : "\(explanation)"
    return ([choice] + table.lines(width: width) + shared.map { Self.indent + $0 })
      .joined(separator: "\n")
  }

  /// The indentation of the names of kernels in the table.
  private static let indent = "   "

  /// Why no kernel would run; nil if one would.
  package var failure: String? {
    guard explanation.chosen == nil else { return nil }
    if let forced = explanation.forced,
      let objection = explanation.candidates.first(where: { $0.kernel == forced })?.objection
    {
      return "\(AttentionError.kernelObjects(forced, objection))"
    }
    return "every kernel objects to this call"
  }
}
