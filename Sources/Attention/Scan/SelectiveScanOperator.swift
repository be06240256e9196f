import AttentionTensors

/// The selective scan as an operator.
public enum SelectiveScan: Operator {
  public typealias Input = SelectiveScanInput
  public typealias Output = RecurrenceOutput
  public typealias Options = SelectiveScanOptions
  public typealias Problem = SelectiveScanProblem
  public typealias Sequences = TokenSequences
  public typealias Arguments = SelectiveScanArguments

  public static let name = "selectiveScan"

  public static let registry = KernelRegistry<SelectiveScan>([
    SelectiveTiles(), SelectiveStep(), SelectiveScanReference(), DeviceSelectiveScan(),
  ])

  public static func shape(of output: RecurrenceOutput, in problem: SelectiveScanProblem) -> Shape {
    output == .output
      ? [problem.batch, problem.length, problem.channels]
      : [problem.sequences, problem.channels, problem.states]
  }

  public static func dtype(of output: RecurrenceOutput, in problem: SelectiveScanProblem) -> DType {
    output == .output ? problem.dtype : problem.stateDType
  }

  public static func arguments(
    of call: OperatorCall<SelectiveScan>, destinations: OperatorDestinations<SelectiveScan>
  ) throws
    -> SelectiveScanArguments
  {
    try SelectiveScanArguments(call)
  }

  public static func check(
    _ inputs: OperatorTensors<SelectiveScanInput>, _ options: SelectiveScanOptions,
    _ gradients: WantedGradients<SelectiveScanInput>
  ) throws -> (problem: SelectiveScanProblem, sequences: TokenSequences) {
    let (tokens, step) = (try inputs.required(.inputs), try inputs.required(.step))
    let stateMatrix = try inputs.required(.stateMatrix)
    try Check.tensor(tokens, "inputs", "[batch, length, channels]") {
      $0.rank == 3 && $0.shape[2] > 0
    }
    let (batch, length, channels) = (tokens.shape[0], tokens.shape[1], tokens.shape[2])
    try Check.tensor(step, "step", "\(tokens.shape) like the inputs") { $0.shape == tokens.shape }
    try Check.tensor(stateMatrix, "stateMatrix", "[\(channels), states]") {
      $0.rank == 2 && $0.shape[0] == channels && $0.shape[1] > 0
    }
    let states = stateMatrix.shape[1]
    let sequences = try Check.sequences(
      inputs[.cumulativeLengths], of: "inputs", batch: batch, length: length)
    try ProblemSize.check(
      tokens, "inputs", [max(batch, sequences.count), length, channels, states],
      "sequences, length, channels and states")
    let shared: Shape = [batch, length, states]
    let others: [(SelectiveScanInput, Shape)] = [
      (.inputMatrix, shared), (.outputMatrix, shared), (.skip, [channels]),
      (.stepBias, [channels]), (.initialState, [sequences.count, channels, states]),
    ]
    for (input, shape) in others {
      guard let tensor = inputs[input] else { continue }
      try Check.tensor(tensor, input.argument, "\(shape)") { $0.shape == shape }
    }
    for (input, tensor) in inputs where input != .cumulativeLengths {
      try Check.dtype(of: tensor, input.argument)
    }
    let problem = SelectiveScanProblem(
      batch: batch, length: length, sequences: sequences.count,
      isPacked: inputs[.cumulativeLengths] != nil, channels: channels, states: states,
      dtype: tokens.dtype, hasSkip: inputs[.skip] != nil, hasStepBias: inputs[.stepBias] != nil,
      appliesSoftplus: options.appliesSoftplus, hasInitialState: inputs[.initialState] != nil,
      needsGradient: gradients.areNeeded, device: tokens.device)
    return (problem, sequences)
  }
}

/// The tensors that a selective scan reads.
public enum SelectiveScanInput: String, OperatorInput {
  case inputs, step
  case stateMatrix = "state_matrix"
  case inputMatrix = "input_matrix"
  case outputMatrix = "output_matrix"
  case skip
  case stepBias = "step_bias"
  case initialState = "initial_state"
  case cumulativeLengths = "cumulative_lengths"

  public var facts: InputFacts {
    switch self {
    case .inputs: .operand("[b,t,d]", "x")
    case .step:
      InputFacts(
        "[b,t,d]", "in place of decay, with the next three: h = e^(step A) h + step x B",
        isRequired: true)
    case .stateMatrix: InputFacts("[d,s]", "A, negative", isRequired: true)
    case .inputMatrix: InputFacts("[b,t,s]", "B", isRequired: true)
    case .outputMatrix: InputFacts("[b,t,s]", "C: the output is C h + D x", isRequired: true)
    case .skip: InputFacts("[d]", "with step: D")
    case .stepBias: InputFacts("[d]", "added to the step, before --softplus")
    case .initialState: InputFacts("[n,d,s]", "n is b, or the number of packed sequences")
    case .cumulativeLengths: .cumulativeLengths
    }
  }
}

/// The arguments of a selective scan that are not tensors.
public struct SelectiveScanOptions: Hashable, Sendable {
  /// Whether the step is log(1 + e^(step + bias)).
  public var appliesSoftplus: Bool

  public init(appliesSoftplus: Bool = false) { self.appliesSoftplus = appliesSoftplus }
}

/// A kernel of selective scans.
public protocol SelectiveScanKernel: OperatorKernel where Op == SelectiveScan {}

/// What a kernel of selective scans computes.
public typealias SelectiveScanOutputs = OperatorTensors<RecurrenceOutput>

/// The gradients of what a selective scan reads.
public typealias SelectiveScanGradients = OperatorTensors<SelectiveScanInput>
