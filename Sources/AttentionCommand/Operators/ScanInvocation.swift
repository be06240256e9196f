import AttentionOperators
import AttentionTensors

extension NamedTensors {
  /// Whether these are the inputs of a selective scan.
  ///
  /// - Throws: ``CommandError`` if they are those of no scan.
  var areSelective: Bool {
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

/// A gated scan as the command line describes it.
struct GatedScanInvocation: OperatorInvocation {
  private let inputs: Tensor
  private let decay: Tensor
  private let initialState: Tensor?
  private let cumulativeLengths: Tensor?
  private let kernel: String?
  private let device: Device

  init(_ tensors: NamedTensors, _ flags: OperatorFlags) throws {
    guard !flags.softplus else {
      throw CommandError("--softplus has no meaning for scan without a step")
    }
    let first = try tensors.required("inputs")
    inputs = try first.cast(to: flags.dtype ?? first.dtype)
    decay = try tensors.required("decay")
    initialState = tensors["initial_state"]
    cumulativeLengths = tensors["cumulative_lengths"]
    kernel = flags.kernel
    device = try OperatorFlags.device(named: flags.device)
  }

  func run() throws -> OperatorOutputs {
    let result = try gatedScan(
      inputs: inputs, decay: decay, initialState: initialState,
      cumulativeLengths: cumulativeLengths, kernel: kernel)
    return OperatorOutputs(
      tensors: ["output": result.output, "final_state": result.finalState],
      explanation: result.explanation)
  }

  func explain(needsGradient: Bool) throws -> Explanation {
    try GatedScan.explain(
      inputs: inputs, decay: decay, initialState: initialState,
      cumulativeLengths: cumulativeLengths, kernel: kernel, needsGradient: needsGradient,
      device: device)
  }
}

/// A selective scan as the command line describes it.
struct SelectiveScanInvocation: OperatorInvocation {
  private let tensors: NamedTensors
  private let inputs: Tensor
  private let appliesSoftplus: Bool
  private let kernel: String?
  private let device: Device

  init(_ tensors: NamedTensors, _ flags: OperatorFlags) throws {
    let first = try tensors.required("inputs")
    inputs = try first.cast(to: flags.dtype ?? first.dtype)
    self.tensors = tensors
    appliesSoftplus = flags.softplus
    kernel = flags.kernel
    device = try OperatorFlags.device(named: flags.device)
  }

  func run() throws -> OperatorOutputs {
    let result = try selectiveScan(
      inputs: inputs, step: tensors.required("step"),
      stateMatrix: tensors.required("state_matrix"),
      inputMatrix: tensors.required("input_matrix"),
      outputMatrix: tensors.required("output_matrix"), skip: tensors["skip"],
      stepBias: tensors["step_bias"], appliesSoftplus: appliesSoftplus,
      initialState: tensors["initial_state"], cumulativeLengths: tensors["cumulative_lengths"],
      kernel: kernel)
    return OperatorOutputs(
      tensors: ["output": result.output, "final_state": result.finalState],
      explanation: result.explanation)
  }

  func explain(needsGradient: Bool) throws -> Explanation {
    try SelectiveScan.explain(
      inputs: inputs, step: tensors.required("step"),
      stateMatrix: tensors.required("state_matrix"),
      inputMatrix: tensors.required("input_matrix"),
      outputMatrix: tensors.required("output_matrix"), skip: tensors["skip"],
      stepBias: tensors["step_bias"], appliesSoftplus: appliesSoftplus,
      initialState: tensors["initial_state"], cumulativeLengths: tensors["cumulative_lengths"],
      kernel: kernel, needsGradient: needsGradient, device: device)
  }
}
