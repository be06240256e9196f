import AttentionTensors

/// The gated scan as an operator.
public enum GatedScan: Operator {
  public typealias Input = GatedScanInput
  public typealias Output = RecurrenceOutput
  public typealias Options = NoOptions
  public typealias Problem = GatedScanProblem
  public typealias Sequences = TokenSequences
  public typealias Arguments = GatedScanArguments

  public static let name = "gatedScan"
  public static let readBackward = [RecurrenceOutput.output]

  public static let registry = KernelRegistry<GatedScan>([
    SinglePassScan(), BlockedScan(), GatedScanReference(), DeviceScan(),
  ])

  public static func shape(of output: RecurrenceOutput, in problem: GatedScanProblem) -> Shape {
    output == .output
      ? [problem.batch, problem.length, problem.channels] : [problem.sequences, problem.channels]
  }

  public static func dtype(of output: RecurrenceOutput, in problem: GatedScanProblem) -> DType {
    output == .output ? problem.dtype : problem.stateDType
  }

  public static func arguments(
    of call: OperatorCall<GatedScan>, destinations: OperatorDestinations<GatedScan>
  ) throws
    -> GatedScanArguments
  {
    try GatedScanArguments(call)
  }

  public static func check(
    _ inputs: OperatorTensors<GatedScanInput>, _ options: NoOptions,
    _ gradients: WantedGradients<GatedScanInput>
  ) throws -> (problem: GatedScanProblem, sequences: TokenSequences) {
    let (tokens, decay) = (try inputs.required(.inputs), try inputs.required(.decay))
    try Check.tensor(tokens, "inputs", "[batch, length, channels]") {
      $0.rank == 3 && $0.shape[2] > 0
    }
    try Check.tensor(decay, "decay", "\(tokens.shape) like the inputs") {
      $0.shape == tokens.shape
    }
    try Check.dtype(of: tokens, "inputs")
    try Check.dtype(of: decay, "decay")
    let (batch, length, channels) = (tokens.shape[0], tokens.shape[1], tokens.shape[2])
    let sequences = try Check.sequences(
      inputs[.cumulativeLengths], of: "inputs", batch: batch, length: length)
    try ProblemSize.check(
      tokens, "inputs", [max(batch, sequences.count), length, channels],
      "sequences, length and channels")
    if let initialState = inputs[.initialState] {
      let shape: Shape = [sequences.count, channels]
      try Check.tensor(initialState, "initialState", "\(shape)") { $0.shape == shape }
      try Check.dtype(of: initialState, "initialState")
    }
    let isAlike = tokens.dtype == .float64 || decay.dtype == tokens.dtype
    let problem = GatedScanProblem(
      batch: batch, length: length, sequences: sequences.count,
      isPacked: inputs[.cumulativeLengths] != nil, channels: channels, dtype: tokens.dtype,
      decayDType: isAlike ? tokens.dtype : .float32,
      hasInitialState: inputs[.initialState] != nil, needsGradient: gradients.areNeeded,
      device: tokens.device)
    return (problem, sequences)
  }
}

/// The tensors that a gated scan reads.
public enum GatedScanInput: String, OperatorInput {
  case inputs, decay
  case initialState = "initial_state"
  case cumulativeLengths = "cumulative_lengths"

  public var facts: InputFacts {
    switch self {
    case .inputs: .operand("[b,t,d]", "x")
    case .decay:
      InputFacts(
        "[b,t,d]", "natural logarithm, at most 0: h = e^decay h + x", isRequired: true)
    case .initialState: InputFacts("[n,d]", "n is b, or the number of packed sequences")
    case .cumulativeLengths: .cumulativeLengths
    }
  }
}

/// A kernel of gated scans. It reads what its forward pass gave as `output` when it goes back.
public protocol GatedScanKernel: OperatorKernel where Op == GatedScan {}

/// What a kernel of gated scans computes.
public typealias GatedScanOutputs = OperatorTensors<RecurrenceOutput>

/// The gradients of what a gated scan reads.
public typealias GatedScanGradients = OperatorTensors<GatedScanInput>
