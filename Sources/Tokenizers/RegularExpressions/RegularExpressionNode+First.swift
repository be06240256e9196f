/// What a match can begin with.
struct FirstScalars {
  var scalars: ScalarSet
  /// Whether a match can be empty, or begin with what follows it.
  var isOpen: Bool

  /// The end of a pattern: nothing that follows can fail.
  static let end = FirstScalars(scalars: ScalarSet(), isOpen: false)
}

extension RegularExpressionNode {
  /// What a match of the node can begin with, where assertions are taken to hold.
  var first: FirstScalars {
    switch self {
    case .set(let set): return FirstScalars(scalars: set, isOpen: false)
    case .sequence(let nodes):
      var result = FirstScalars(scalars: ScalarSet(), isOpen: true)
      for node in nodes where result.isOpen {
        let first = node.first
        result.scalars = result.scalars.union(first.scalars)
        result.isOpen = first.isOpen
      }
      return result
    case .alternatives(let nodes):
      let all = nodes.map(\.first)
      return FirstScalars(
        scalars: ScalarSet(all.flatMap { $0.scalars.ranges }), isOpen: all.contains { $0.isOpen })
    case .repetition(let node, let repetition):
      let first = node.first
      return FirstScalars(
        scalars: repetition.maximum == 0 ? ScalarSet() : first.scalars,
        isOpen: first.isOpen || repetition.minimum == 0)
    case .assertion, .lookahead: return FirstScalars(scalars: ScalarSet(), isOpen: true)
    case .atomic(let node): return node.first
    }
  }

  /// Whether the node tests the text without consuming it, somewhere that a match can begin.
  fileprivate var beginsWithTest: Bool {
    switch self {
    case .set: return false
    case .sequence(let nodes):
      for node in nodes {
        if node.beginsWithTest { return true }
        if !node.first.isOpen { return false }
      }
      return false
    case .alternatives(let nodes): return nodes.contains { $0.beginsWithTest }
    case .repetition(let node, _), .atomic(let node): return node.beginsWithTest
    case .assertion, .lookahead: return true
    }
  }
}

extension FirstScalars? {
  /// What a match of `nodes` and then of what `self` describes begins with; nil if a test that does not consume
  /// decides too.
  func after(_ nodes: ArraySlice<RegularExpressionNode>) -> FirstScalars? {
    let sequence = RegularExpressionNode.sequence(Array(nodes))
    guard !sequence.beginsWithTest else { return nil }
    let first = sequence.first
    guard first.isOpen else { return first }
    guard let self else { return nil }
    return FirstScalars(scalars: first.scalars.union(self.scalars), isOpen: self.isOpen)
  }
}
