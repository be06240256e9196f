import AttentionOperators
import AttentionTensors

/// An operator as the command line has it: its tables say which tensors it reads, this which flags.
protocol ToolOperator: Operator {
  /// - Throws: ``CommandError`` if a flag does not go with the tensors.
  static func options(_ flags: OperatorFlags, for operation: OperatorName, _ tensors: NamedTensors)
    throws -> Options
}

extension ToolOperator {
  /// The call that tensors and flags describe, computed in `--dtype` or the dtype of the first tensor.
  static func call(_ tensors: NamedTensors, _ flags: OperatorFlags, for operation: OperatorName)
    throws -> OperatorCall<Self>
  {
    let first = try tensors.required(inputs[0].rawValue)
    let dtype = flags.dtype ?? first.dtype
    let given = try inputs.map { input in
      let tensor = tensors[input.rawValue]
      return (key: input, tensor: input.facts.isInCallDType ? try tensor?.cast(to: dtype) : tensor)
    }
    return try OperatorCall(
      OperatorTensors(given), options(flags, for: operation, tensors), kernel: flags.kernel)
  }
}

extension ExactAttention: ToolOperator {
  static func options(_ flags: OperatorFlags, for operation: OperatorName, _ tensors: NamedTensors)
    throws -> ExactOptions
  {
    guard tensors["scale"] == nil || flags.scale == nil else {
      throw CommandError("--scale and a tensor named scale are both given; one must be absent")
    }
    var options = ExactOptions()
    options.isCosine = operation == .cosine
    options.groups = flags.groups ?? options.groups
    options.normalizes = !flags.skipsNormalization
    options.scale = flags.scale
    options.isCausal = flags.causal
    options.alignment = flags.alignment ?? options.alignment
    options.window = flags.window.map { Window(left: $0.left, right: $0.right) }
    options.terms = flags.scoreTerms
    options.allowsTF32 = flags.tf32
    return options
  }
}

extension LinearAttention: ToolOperator {
  static func options(_ flags: OperatorFlags, for operation: OperatorName, _ tensors: NamedTensors)
    throws -> LinearOptions
  {
    LinearOptions(
      scale: flags.scale, normalizesQueriesAndKeys: flags.normalizesQueriesAndKeys)
  }
}

extension GatedScan: ToolOperator {
  static func options(_ flags: OperatorFlags, for operation: OperatorName, _ tensors: NamedTensors)
    throws -> NoOptions
  {
    guard !flags.softplus else {
      throw CommandError("--softplus has no meaning for scan without a step")
    }
    return NoOptions()
  }
}

extension SelectiveScan: ToolOperator {
  static func options(_ flags: OperatorFlags, for operation: OperatorName, _ tensors: NamedTensors)
    throws -> SelectiveScanOptions
  {
    SelectiveScanOptions(appliesSoftplus: flags.softplus)
  }
}

extension OperatorName {
  /// The call that `tensors` and `flags` describe.
  func invocation(_ tensors: NamedTensors, _ flags: OperatorFlags) throws -> any OperatorInvocation
  {
    try flags.check(for: self)
    let device = try OperatorFlags.device(named: flags.device)
    func invocation(_ operation: any ToolOperator.Type) throws -> any OperatorInvocation {
      try self.invocation(of: operation, tensors, flags, device)
    }
    switch self {
    case .softmax, .cosine: return try invocation(ExactAttention.self)
    case .linear:
      return try LinearForm(tensors, flags)?.invocation(tensors, flags, device)
        ?? invocation(LinearAttention.self)
    case .scan: return try invocation(tensors.areSelective ? SelectiveScan.self : GatedScan.self)
    }
  }

  private func invocation<Op: ToolOperator>(
    of _: Op.Type, _ tensors: NamedTensors, _ flags: OperatorFlags, _ device: Device
  ) throws -> any OperatorInvocation {
    CallInvocation(call: try Op.call(tensors, flags, for: self), device: device)
  }
}

/// A call of one operator.
private struct CallInvocation<Op: Operator>: OperatorInvocation {
  let call: OperatorCall<Op>
  let device: Device

  func run() throws -> OperatorOutputs { OperatorOutputs(try call.run()) }

  func explain(needsGradient: Bool) throws -> Explanation {
    try call.explanation(on: device, needsGradient: needsGradient)
  }
}

extension NamedTensors {
  /// Whether these are the inputs of a selective scan.
  ///
  /// - Throws: ``CommandError`` if they are those of no scan.
  fileprivate var areSelective: Bool {
    get throws {
      let selective = InputName.selective.filter { self[$0] != nil }
      guard let first = selective.first else {
        guard self["decay"] != nil else {
          throw CommandError("decay [b,t,d] or step [b,t,d] is missing; scan needs one of them")
        }
        return false
      }
      guard self["decay"] == nil else {
        throw CommandError("decay and \(first) are both given; one must be absent")
      }
      if let missing = InputName.selectiveRequired.first(where: { self[$0] == nil }) {
        throw CommandError("\(missing) is missing; it must be given with \(first)")
      }
      return true
    }
  }
}

/// The operators that the tool runs.
enum OperatorName: String, CaseIterable {
  case softmax, cosine, linear, scan

  /// Whether this is a similarity of exact attention.
  var isExact: Bool { self == .softmax || self == .cosine }

  /// - Throws: ``CommandError`` that names the operators.
  init(argument: String) throws {
    guard let name = Self(rawValue: argument) else {
      throw CommandError("OPERATOR", was: argument, mustBe: Self.list)
    }
    self = name
  }

  /// As `one of softmax, cosine, linear, scan`.
  static let list = "one of " + allCases.map(\.rawValue).joined(separator: ", ")
}
