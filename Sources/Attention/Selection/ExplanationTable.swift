import AttentionTensors

/// A verdict as a person reads it.
package struct ExplanationTable {
  private let explanation: Explanation

  package init(_ explanation: Explanation) { self.explanation = explanation }

  /// The choice in one line, then a row a kernel: those that can run, the cheapest first, with their
  /// estimates and what these rest on, then the others with their objections. Kernels that object for the
  /// same reason, as those for another device, share a line at the end.
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

  /// Where the names of kernels begin in the table.
  private static let indent = "   "

  /// Why nothing would run; nil if something would.
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
