/// One step of a compiled regular expression.
struct RegularExpressionInstruction {
  enum Kind: UInt8 {
    /// Consumes one scalar of class `target`.
    case one
    /// Consumes `minimum` to `maximum` scalars of class `target`, as many as possible; fewer if what follows fails.
    case most
    /// The same; what follows does not change the count.
    case mostWithoutReturn
    /// The same, as few as possible; more if what follows fails.
    case fewest
    /// Goes on at `target`; if that fails, at `other`.
    case split
    case jump
    /// Goes on at one of the alternatives of table `target`, in order.
    case alternatives
    /// Tests the assertion `target`.
    case assertion
    /// Tests the program that follows, then goes on at `target`; a failure if `other` is 1.
    case lookahead
    /// Runs the program that follows, and goes on at `target` after its first match.
    case atomic
    case accept
  }

  let kind: Kind
  var target: Int32 = 0
  var other: Int32 = 0
  var minimum: Int32 = 0
  var maximum: Int32 = .max
}

/// Compiles the tree of a regular expression.
struct RegularExpressionProgram {
  /// Alternatives: where each begins, and which may begin with a byte.
  struct Table {
    /// Bit i of element b: alternative i may begin with byte b; the last element is for the end of the text.
    var masks = [UInt64](repeating: 0, count: 257)
    var starts: [Int32] = []
  }

  private(set) var instructions: [RegularExpressionInstruction] = []
  private(set) var classes: [ScalarSet] = []
  private(set) var tables: [Table] = []
  private var classNumbers: [ScalarSet: Int32] = [:]
  private let pattern: String

  private static let mostInstructions = 20_000
  private static let alternativesPerTable = 64

  /// - Throws: ``TokenizerError/pattern(_:reason:)`` if the program would be too large, or could repeat nothing
  ///   for ever.
  init(_ node: RegularExpressionNode, pattern: String) throws {
    self.pattern = pattern
    try compile(node, before: .end)
    try emit(.init(kind: .accept))
  }

  private mutating func emit(_ instruction: RegularExpressionInstruction) throws {
    guard instructions.count < Self.mostInstructions else {
      throw TokenizerError.pattern(pattern, reason: "it is too long")
    }
    instructions.append(instruction)
  }

  private var here: Int32 { Int32(instructions.count) }

  private mutating func number(of set: ScalarSet) -> Int32 {
    if let number = classNumbers[set] { return number }
    let number = Int32(classes.count)
    classNumbers[set] = number
    classes.append(set)
    return number
  }

  /// - Parameter following: what follows the node can begin with; nil if that is not known.
  private mutating func compile(
    _ node: RegularExpressionNode, before following: FirstScalars?
  ) throws {
    switch node {
    case .set(let set): try emit(.init(kind: .one, target: number(of: set)))
    case .sequence(let nodes):
      for (i, node) in nodes.enumerated() {
        try compile(node, before: following.after(nodes[(i + 1)...]))
      }
    case .alternatives(let nodes): try alternatives(nodes, before: following)
    case .repetition(.set(let set), let repetition):
      try run(of: set, repetition, before: following)
    case .repetition(let node, let repetition):
      try group(node, repetition, before: following)
    case .assertion(let assertion):
      try emit(.init(kind: .assertion, target: assertion.rawValue))
    case .lookahead(let node, let isNegative):
      try nested(node, kind: .lookahead, other: isNegative ? 1 : 0)
    case .atomic(let node): try nested(node, kind: .atomic, other: 0)
    }
  }

  private mutating func nested(
    _ node: RegularExpressionNode, kind: RegularExpressionInstruction.Kind, other: Int32
  ) throws {
    let start = instructions.count
    try emit(.init(kind: kind, other: other))
    try compile(node, before: .end)
    try emit(.init(kind: .accept))
    instructions[start].target = here
  }

  private mutating func alternatives(
    _ nodes: [RegularExpressionNode], before following: FirstScalars?
  ) throws {
    guard nodes.count <= Self.alternativesPerTable else {
      let middle = nodes.count / 2
      let halves = [Array(nodes[..<middle]), Array(nodes[middle...])]
      return try alternatives(halves.map { .alternatives($0) }, before: following)
    }
    let number = tables.count
    var table = Table()
    tables.append(table)
    try emit(.init(kind: .alternatives, target: Int32(number)))
    var jumps: [Int] = []
    for (i, node) in nodes.enumerated() {
      let first = node.first
      let bytes = first.scalars.firstBytes
      for byte in table.masks.indices
      where first.isOpen || byte < bytes.count && bytes[byte] != .none {
        table.masks[byte] |= 1 << UInt64(i)
      }
      table.starts.append(here)
      try compile(node, before: following)
      jumps.append(instructions.count)
      try emit(.init(kind: .jump))
    }
    for jump in jumps { instructions[jump].target = here }
    tables[number] = table
  }

  /// A repeated class. It need not be shortened later if nothing that follows can begin with a member of it.
  private mutating func run(
    of set: ScalarSet, _ repetition: RegularExpressionNode.Repetition,
    before following: FirstScalars?
  ) throws {
    let isFinal =
      following.map { !$0.isOpen && set.intersection($0.scalars).isEmpty } ?? false
    let kind: RegularExpressionInstruction.Kind =
      switch repetition.preference {
      case .mostWithoutReturn: .mostWithoutReturn
      case .most: isFinal ? .mostWithoutReturn : .most
      case .fewest: .fewest
      }
    try emit(
      .init(
        kind: kind, target: number(of: set), minimum: Int32(repetition.minimum),
        maximum: repetition.maximum.map(Int32.init) ?? .max))
  }

  private mutating func group(
    _ node: RegularExpressionNode, _ repetition: RegularExpressionNode.Repetition,
    before following: FirstScalars?
  ) throws {
    if repetition.preference == .mostWithoutReturn {
      let most = RegularExpressionNode.Repetition(
        minimum: repetition.minimum, maximum: repetition.maximum, preference: .most)
      return try nested(.repetition(node, most), kind: .atomic, other: 0)
    }
    for _ in 0..<repetition.minimum { try compile(node, before: nil) }
    let isLazy = repetition.preference == .fewest
    if let maximum = repetition.maximum {
      var splits: [Int] = []
      for copy in repetition.minimum..<maximum {
        splits.append(instructions.count)
        try emit(.init(kind: .split))
        try compile(node, before: copy + 1 == maximum ? following : nil)
      }
      for split in splits { setSplit(split, body: Int32(split) + 1, end: here, isLazy) }
      return
    }
    guard !node.first.isOpen else {
      throw TokenizerError.pattern(pattern, reason: "something that can be empty is repeated")
    }
    let split = instructions.count
    try emit(.init(kind: .split))
    try compile(node, before: nil)
    try emit(.init(kind: .jump, target: Int32(split)))
    setSplit(split, body: Int32(split) + 1, end: here, isLazy)
  }

  private mutating func setSplit(_ split: Int, body: Int32, end: Int32, _ isLazy: Bool) {
    instructions[split].target = isLazy ? end : body
    instructions[split].other = isLazy ? body : end
  }
}
