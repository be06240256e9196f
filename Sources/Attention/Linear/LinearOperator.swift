import AttentionTensors

/// Linear attention as an operator.
public enum LinearAttention: Operator {
  public typealias Input = LinearInput
  public typealias Output = RecurrenceOutput
  public typealias Options = LinearOptions
  public typealias Problem = LinearProblem
  public typealias Sequences = TokenSequences
  public typealias Arguments = LinearArguments

  public static let name = "linearAttention"

  public static let registry = KernelRegistry<LinearAttention>([
    ChunkedKernel(erases: false), SplitKernel(), StepKernel(erases: false),
    ChunkedKernel(erases: true), ColumnSlices(slices: 2), ColumnSlices(slices: 4),
    StepKernel(erases: true), LinearReference(),
    HopperKernel(splits: false), HopperKernel(splits: true), DeviceChunked(erases: false),
    DeviceChunked(erases: true), DeviceStep(),
  ])

  public static func shape(of output: RecurrenceOutput, in problem: LinearProblem) -> Shape {
    output == .output
      ? [problem.batch, problem.length, problem.valueHeads, problem.valueDimension]
      : [problem.sequences, problem.valueHeads, problem.keyDimension, problem.valueDimension]
  }

  public static func check(
    _ inputs: OperatorTensors<LinearInput>, _ options: LinearOptions,
    _ gradients: WantedGradients<LinearInput>
  ) throws -> (problem: LinearProblem, sequences: TokenSequences) {
    let (queries, keys, values) = (
      try inputs.required(.queries), try inputs.required(.keys), try inputs.required(.values)
    )
    try Check.tensor(queries, "queries", "[batch, length, heads, key dimension]") {
      $0.rank == 4 && $0.shape[2] > 0 && $0.shape[3] > 0
    }
    let (batch, length, heads, dimension) = (
      queries.shape[0], queries.shape[1], queries.shape[2], queries.shape[3]
    )
    try Check.tensor(keys, "keys", "\(queries.shape) like the queries") {
      $0.shape == queries.shape
    }
    try Check.tensor(
      values, "values",
      "[\(batch), \(length), a multiple of \(heads) heads, value dimension]"
    ) {
      $0.rank == 4 && $0.shape[0] == batch && $0.shape[1] == length && $0.shape[2] > 0
        && $0.shape[2] % heads == 0 && $0.shape[3] > 0
    }
    try Check.dtype(of: queries, "queries")
    for (tensor, name) in [(keys, "keys"), (values, "values")] {
      try Check.dtype(of: tensor, name, "\(queries.dtype.rawValue) like the queries") {
        $0 == queries.dtype
      }
    }
    let (valueHeads, valueDimension) = (values.shape[2], values.shape[3])
    let kind = try kind(of: inputs[.decay], [batch, length, valueHeads, dimension])
    let sequences = try Check.sequences(
      inputs[.cumulativeLengths], of: "queries", batch: batch, length: length)
    try ProblemSize.check(heads: valueHeads, "values")
    try ProblemSize.check(row: dimension, "keys")
    try ProblemSize.check(row: valueDimension, "values")
    try ProblemSize.check(
      queries, "queries", [batch, length, valueHeads, dimension, valueDimension],
      "batch, length, value heads, key and value dimension")
    try ProblemSize.check(
      values, "values", [sequences.count, valueHeads, dimension, valueDimension],
      "sequences, value heads, key and value dimension")
    let update = try LinearUpdate(inputs)
    let problem = LinearProblem(
      tokens: RecurrenceTokens(
        queries, sequences, isPacked: inputs[.cumulativeLengths] != nil,
        hasInitialState: inputs[.initialState] != nil, needsGradient: gradients.areNeeded),
      heads: heads, valueHeads: valueHeads, keyDimension: dimension,
      valueDimension: valueDimension, decay: kind, update: update.kind,
      normalizesQueriesAndKeys: options.normalizesQueriesAndKeys)
    if let initialState = inputs[.initialState] {
      let shape: Shape = [sequences.count, valueHeads, dimension, valueDimension]
      try Check.tensor(initialState, "initialState", "\(shape)") { $0.shape == shape }
      try Check.dtype(of: initialState, "initialState")
    }
    if let scale = options.scale, !scale.isFinite {
      throw AttentionError.invalidArgument("scale", was: "\(scale)", mustBe: "a finite number")
    }
    for (input, tensor) in zip(update.inputs, update.tensors) {
      let shape = input.shape(in: problem)
      try Check.tensor(tensor, input.argument, "\(shape)") { $0.shape == shape }
      try Check.dtype(of: tensor, input.argument)
    }
    return (problem, sequences)
  }

  /// The kind of `decay`, from its shape; `full` is [b, t, hv, k].
  private static func kind(of decay: Tensor?, _ full: [Int]) throws -> LinearProblem.Decay {
    guard let decay else { return .none }
    try Check.dtype(of: decay, "decay")
    switch decay.shape.dimensions {
    case [full[2]]: return .perHead
    case Array(full[..<3]): return .perToken
    case full: return .perChannel
    default:
      throw AttentionError.invalidArgument(
        "decay", was: "\(decay.shape)",
        mustBe: "\(Shape([full[2]])), \(Shape(Array(full[..<3]))) or \(Shape(full))")
    }
  }
}

/// The tensors that linear attention reads.
public enum LinearInput: String, OperatorInput {
  case queries, keys, values, decay, beta
  case readKeys = "read_keys"
  case lowRankA = "low_rank_a"
  case lowRankB = "low_rank_b"
  case bonus
  case initialState = "initial_state"
  case cumulativeLengths = "cumulative_lengths"

  public var facts: InputFacts {
    switch self {
    case .queries, .keys: .operand("[b,t,h,k]")
    case .values:
      .operand("[b,t,hv,v]", "h divides hv; value head j reads query head j / (hv/h)")
    case .decay: InputFacts("[hv], [b,t,hv] or [b,t,hv,k]", "natural logarithm, at most 0")
    case .beta: InputFacts("[b,t,hv]", "delta rule: S += beta k (v - S^T k)^T, S decayed")
    case .readKeys:
      InputFacts("[b,t,hv,k]", "generalised delta rule: S += k (v - S^T y)^T, S decayed")
    case .lowRankA:
      InputFacts(
        "[b,t,hv,k]", "with low_rank_b: S += b (a^T S')^T + k v^T, S' before its decay")
    case .lowRankB: InputFacts("[b,t,hv,k]", "with low_rank_a")
    case .bonus:
      InputFacts("[hv,k]", "queries read S' + diag(bonus) k v^T, S' before its decay")
    case .initialState:
      InputFacts("[n,hv,k,v]", "n is b, or the number of packed sequences")
    case .cumulativeLengths: .cumulativeLengths
    }
  }

  public var argument: String {
    switch self {
    case .lowRankA: "a"
    case .lowRankB: "b"
    default: "\(self)"
    }
  }

  /// The shape of a tensor of the update.
  func shape(in problem: LinearProblem) -> Shape {
    switch self {
    case .bonus: [problem.valueHeads, problem.keyDimension]
    case .beta: [problem.batch, problem.length, problem.valueHeads]
    default: [problem.batch, problem.length, problem.valueHeads, problem.keyDimension]
    }
  }
}

/// The arguments of linear attention that are not tensors.
public struct LinearOptions: Hashable, Sendable {
  /// The factor of the queries; nil is 1/√k.
  public var scale: Double?
  /// Whether each query and key x is replaced by x / √(Σ x² + 10⁻⁶).
  public var normalizesQueriesAndKeys: Bool

  public init(scale: Double? = nil, normalizesQueriesAndKeys: Bool = false) {
    self.scale = scale
    self.normalizesQueriesAndKeys = normalizesQueriesAndKeys
  }
}

/// A kernel of linear attention.
public protocol LinearKernel: OperatorKernel where Op == LinearAttention {}

/// What a kernel of linear attention computes.
public typealias LinearOutputs = OperatorTensors<RecurrenceOutput>

/// The gradients of linear attention, in any floating-point dtype. Those of queries and keys may be apart for each
/// value head, [b, t, hv, k], and that of a decay for each token, [b, t, hv, 1] or [b, t, hv, k]: what belongs
/// together is added afterwards.
public typealias LinearGradients = OperatorTensors<LinearInput>

extension LinearGradients {
  /// - Parameter update: those of the update's tensors, in the order of ``LinearUpdate/inputs``.
  init(
    of call: LinearArguments, queries: Tensor, keys: Tensor, values: Tensor, decay: Tensor?,
    update: [Tensor] = [], initialState: Tensor?
  ) {
    self = [
      .queries: queries, .keys: keys, .values: values, .decay: decay,
      .initialState: initialState,
    ]
    for (input, gradient) in zip(call.update.inputs, update) { self[input] = gradient }
  }
}
