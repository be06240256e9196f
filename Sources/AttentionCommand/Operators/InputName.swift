import AttentionOperators
import AttentionTensors

/// One tensor that `attention run` reads: its name in the file and what holds of it.
struct InputName {
  let name: String
  let facts: InputFacts

  init(_ name: String, _ facts: InputFacts) {
    self.name = name
    self.facts = facts
  }

  /// The names that `operation` takes, in the order in which help lists them.
  static func all(of operation: OperatorName) -> [InputName] {
    switch operation {
    case .softmax, .cosine: exact
    case .linear: linear
    case .scan: scan
    }
  }

  /// Whether any operator has a tensor of this name.
  static func isTensor(_ name: String) -> Bool {
    [exact, linear, scan].contains { $0.contains { $0.name == name } }
  }

  private static func names<Op: Operator>(of _: Op.Type) -> [InputName] {
    Op.inputs.map { InputName($0.rawValue, $0.facts) }
  }

  private static let exact = names(of: ExactAttention.self) + [outputGradient]

  private static let linear =
    names(of: LinearAttention.self) + LinearForm.inputs + [outputGradient, finalStateGradient]

  /// Those of both scans: a decay, or what is selective. Which are required follows from the others.
  private static let scan: [InputName] = {
    let gated = names(of: GatedScan.self)
    let selective = names(of: SelectiveScan.self).filter { Self.selective.contains($0.name) }
      .map { InputName($0.name, InputFacts($0.facts.shape, $0.facts.help)) }
    return gated.flatMap { input in
      switch input.name {
      case GatedScanInput.decay.rawValue:
        [InputName(input.name, InputFacts(input.facts.shape, input.facts.help))] + selective
      case GatedScanInput.initialState.rawValue:
        [
          InputName(
            input.name, InputFacts("\(input.facts.shape), with step [n,d,s]", input.facts.help))
        ]
      default: [input]
      }
    } + [outputGradient, finalStateGradient]
  }()

  private static let finalStateGradient = InputName(
    "final_state_gradient", InputFacts("as final_state", "with --gradients"))

  private static let outputGradient = InputName(
    "output_gradient", InputFacts("as output", "with --gradients"))

  /// Names that a selective scan has and a gated one has not, and of these those it must have.
  static let selective = SelectiveScan.inputs.map(\.rawValue).filter {
    GatedScanInput(rawValue: $0) == nil
  }
  static let selectiveRequired = SelectiveScan.inputs.filter(\.facts.isRequired)
    .map(\.rawValue).filter(selective.contains)

  /// The tables of all families, for help.
  static var help: String {
    let sections: [(String, [InputName])] = [
      ("softmax, cosine", exact), ("linear", linear), ("scan", scan),
    ]
    return sections.map { title, inputs in
      var table = TextTable([title: .left, "shape": .left, "dtype": .left, "for": .left])
      for input in inputs {
        let required = input.facts.isRequired ? "required" : ""
        table.append([
          input.name, input.facts.shape, input.facts.kind.summary,
          [required, input.facts.help].filter { !$0.isEmpty }.joined(separator: "; "),
        ])
      }
      return table.lines().joined(separator: "\n")
    }.joined(separator: "\n\n")
  }
}

extension InputFacts.Kind {
  var description: String {
    switch self {
    case .floatingPoint: "float32, bfloat16, float16 or float64"
    case .floatingPointOrBool: "float32, bfloat16, float16, float64 or bool"
    case .bool: "bool"
    case .int32: "int32"
    }
  }

  /// The same in a word or two, for help.
  var summary: String {
    switch self {
    case .floatingPoint: "float"
    case .floatingPointOrBool: "float or bool"
    case .bool, .int32: description
    }
  }
}
