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
      tokens: RecurrenceTokens(
        tokens, sequences, isPacked: inputs[.cumulativeLengths] != nil,
        hasInitialState: inputs[.initialState] != nil, needsGradient: gradients.areNeeded),
      channels: channels, states: states, hasSkip: inputs[.skip] != nil,
      hasStepBias: inputs[.stepBias] != nil, appliesSoftplus: options.appliesSoftplus)
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

/// A call of a selective scan without its numbers.
public struct SelectiveScanProblem: RecurrenceProblem {
  public var tokens: RecurrenceTokens
  public var channels: Int
  /// States per channel.
  public var states: Int
  public var hasSkip: Bool
  public var hasStepBias: Bool
  public var appliesSoftplus: Bool

  /// The number of exponentials of the recurrence.
  var exponentials: Double { Double(batch * length) * Double(channels * states) }

  /// The flag of the C loops: whether the output, and gradients of its size, use non-temporal
  /// stores.
  var writesPastCaches: Int32 { PastCaches.flag(bytes: batch * length * channels * dtype.size) }

  /// Bytes of inputs, step, matrices and output, each moved once, and of the states.
  var bytes: Double {
    let perToken = 3 * channels * dtype.size + 2 * states * MemoryLayout<Float>.size
    let passes = needsGradient ? 3.0 : 1
    return Double(batch * length) * Double(perToken) * passes
      + Double(2 * sequences) * Double(channels * states * MemoryLayout<Float>.size)
  }
}

extension SelectiveScanProblem {
  public var description: String {
    var words = [
      "\(dtype.rawValue) inputs \(Shape([batch, length, channels]))", "\(states) states a channel",
    ]
    if hasSkip { words.append("a skip") }
    if appliesSoftplus { words.append("softplus of the step") }
    if hasStepBias { words.append("a bias of the step") }
    return (words + tokens.words).joined(separator: ", ")
  }
}

/// The arguments of one selective scan, as kernels read them: all of float64 where the
/// inputs are.
public struct SelectiveScanArguments: OperatorArguments {
  public typealias Op = SelectiveScan

  public let problem: SelectiveScanProblem
  /// [b, t, d], detached; the last axis is contiguous.
  public let inputs: Tensor
  /// [b, t, d], likewise, in its own dtype.
  public let step: Tensor
  /// [d, s], contiguous, float32.
  public let stateMatrix: Tensor
  /// [b, t, s], contiguous, float32.
  public let inputMatrix: Tensor
  /// [b, t, s], contiguous, float32.
  public let outputMatrix: Tensor
  /// [d], float32.
  public let skip: Tensor?
  /// [d], float32.
  public let stepBias: Tensor?
  /// [n, d, s], contiguous, float32.
  public let initialState: Tensor?
  /// The sequences, one per vector of states.
  public let sequences: TokenSequences

  public var carried: CarriedState<SelectiveScan>? {
    CarriedState(from: .initialState, to: .finalState, initialState)
  }

  public init(
    _ call: OperatorCall<SelectiveScan>, destinations: OperatorDestinations<SelectiveScan>
  ) throws {
    let inputs = call.inputs.detached()
    problem = call.problem
    sequences = call.sequences
    let isDouble = problem.dtype == .float64
    func readable(_ tensor: Tensor) throws -> Tensor {
      try tensor.cast(to: isDouble ? .float64 : .float32).contiguous()
    }
    self.inputs = try inputs.required(.inputs).withDenseRows()
    let step = try inputs.required(.step)
    self.step = try isDouble || step.dtype == .float64 ? readable(step) : step.withDenseRows()
    stateMatrix = try readable(inputs.required(.stateMatrix))
    inputMatrix = try readable(inputs.required(.inputMatrix))
    outputMatrix = try readable(inputs.required(.outputMatrix))
    skip = try inputs[.skip].map(readable)
    stepBias = try inputs[.stepBias].map(readable)
    initialState = try inputs[.initialState].map(readable)
  }
}
