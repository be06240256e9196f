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
      tokens: RecurrenceTokens(
        tokens, sequences, isPacked: inputs[.cumulativeLengths] != nil,
        hasInitialState: inputs[.initialState] != nil, needsGradient: gradients.areNeeded),
      channels: channels, decayDType: isAlike ? tokens.dtype : .float32)
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

/// A call of a gated scan without its numbers.
public struct GatedScanProblem: RecurrenceProblem {
  public var tokens: RecurrenceTokens
  public var channels: Int
  /// The dtype in which kernels read the decay.
  public var decayDType: DType

  /// Elements of a tensor with all tokens.
  var elements: Int { batch * length * channels }

  /// Bytes that a forward pass moves, or a forward and a backward pass if gradients are needed.
  var bytes: Double {
    let (x, g) = (dtype.size, decayDType.size)
    let perElement = needsGradient ? (2 * x + g) + (3 * x + 2 * g) : 2 * x + g
    return Double(elements) * Double(perElement)
  }
}

extension GatedScanProblem {
  public var description: String {
    let words = [
      "\(dtype.rawValue) inputs \(Shape([batch, length, channels]))",
      "\(decayDType.rawValue) decay",
    ]
    return (words + tokens.words).joined(separator: ", ")
  }
}

/// The arguments of one gated scan, as kernels read them.
public struct GatedScanArguments: OperatorArguments {
  public typealias Op = GatedScan

  public let problem: GatedScanProblem
  /// [b, t, d], detached; the last axis is contiguous.
  public let inputs: Tensor
  /// [b, t, d], likewise, in the inputs' dtype or float32.
  public let decay: Tensor
  /// [n, d], contiguous; float32, or float64 with float64 inputs.
  public let initialState: Tensor?
  /// The sequences, one per state.
  public let sequences: TokenSequences

  public var carried: CarriedState<GatedScan>? {
    CarriedState(from: .initialState, to: .finalState, initialState)
  }

  public init(_ call: OperatorCall<GatedScan>, destinations: OperatorDestinations<GatedScan>) throws
  {
    let inputs = call.inputs.detached()
    problem = call.problem
    sequences = call.sequences
    self.inputs = try inputs.required(.inputs).withDenseRows()
    decay = try inputs.required(.decay).cast(to: problem.decayDType).withDenseRows()
    initialState = try inputs[.initialState]?.cast(to: problem.stateDType).contiguous()
  }
}
