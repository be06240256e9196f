/// The whole verdict on a problem: each kernel with its estimate or its objection, and the choice.
public struct Explanation: Hashable, Sendable, Codable, CustomStringConvertible {
  public struct Candidate: Hashable, Sendable, Codable {
    public let kernel: String
    public let objection: Objection?
    public let cost: Cost?
    /// The estimate; nil where there is an objection, or nothing to choose from.
    public let seconds: Double?
  }

  /// The operator, as `attention`.
  public let operation: String
  /// The problem in words.
  public let problem: String
  /// The kernel that runs; nil if every kernel objects.
  public let chosen: String?
  /// The kernel that the caller asked for, if any.
  public let forced: String?
  /// All kernels of the operator, those that can run first, the cheapest at the top.
  public let candidates: [Candidate]

  /// One line: the choice and the reason.
  public var description: String {
    guard let chosen else {
      return "\(operation) of \(problem): no kernel; "
        + candidates.map { "\($0.kernel): \($0.objection?.reason ?? "")" }.joined(separator: "; ")
    }
    let note = candidates.first { $0.kernel == chosen }?.cost?.note
    return "\(operation) of \(problem): \(chosen), "
      + (forced != nil ? "as asked for" : "the lowest estimate") + (note.map { ": \($0)" } ?? "")
  }
}

extension Explanation.Candidate {
  /// A kernel that runs without being chosen: it is the only one.
  public init(running kernel: String) {
    self.init(kernel: kernel, objection: nil, cost: nil, seconds: nil)
  }
}
