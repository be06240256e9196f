import AttentionTensors

/// The options of operators that have none.
public struct NoOptions: Hashable, Sendable {
  public init() {}
}

/// The tensors that an operator with a state computes.
public enum RecurrenceOutput: String, OperatorOutput {
  /// The output of each token, in the dtype of the inputs.
  case output
  /// The state of each sequence after its last token: float32, or float64 with float64 inputs.
  case finalState = "final_state"
  /// States between tokens that a kernel may keep for its backward pass.
  case checkpoints

  public var isResult: Bool { self != .checkpoints }
}

/// The part of a problem that all operators with a state share.
public struct RecurrenceTokens: Hashable, Sendable {
  public let batch: Int
  /// Tokens in a row of the batch; with packed sequences, the total.
  public let length: Int
  /// The number of sequences, each with a state: the batch, or that of packed sequences.
  public let sequences: Int
  public let isPacked: Bool
  /// The dtype of the operands and the output.
  public let dtype: DType
  public let hasInitialState: Bool
  public var needsGradient: Bool
  /// The device of the tensors.
  public var device = Device.cpu

  /// The last words of a problem's description.
  var words: [String] {
    [
      isPacked ? "\(sequences) packed sequences" : nil, hasInitialState ? "an initial state" : nil,
      needsGradient ? "gradients" : nil, device != .cpu ? "on \(device)" : nil,
    ].compactMap(\.self)
  }
}

extension RecurrenceTokens {
  /// - Parameter operand: [batch, length, …], the first of the inputs.
  init(
    _ operand: Tensor, _ sequences: TokenSequences, isPacked: Bool, hasInitialState: Bool,
    needsGradient: Bool
  ) {
    batch = operand.shape[0]
    length = operand.shape[1]
    self.sequences = sequences.count
    self.isPacked = isPacked
    dtype = operand.dtype
    self.hasInitialState = hasInitialState
    self.needsGradient = needsGradient
    device = operand.device
  }
}

/// A problem of an operator with a state.
public protocol RecurrenceProblem: OperatorProblem {
  var tokens: RecurrenceTokens { get set }
}

extension RecurrenceProblem {
  public var batch: Int { tokens.batch }
  public var length: Int { tokens.length }
  public var sequences: Int { tokens.sequences }
  public var isPacked: Bool { tokens.isPacked }
  public var dtype: DType { tokens.dtype }
  public var hasInitialState: Bool { tokens.hasInitialState }
  public var needsGradient: Bool {
    get { tokens.needsGradient }
    set { tokens.needsGradient = newValue }
  }
  public var device: Device {
    get { tokens.device }
    set { tokens.device = newValue }
  }

  public var hasWork: Bool { batch > 0 && length > 0 }
  /// The dtype of states.
  var stateDType: DType { dtype == .float64 ? .float64 : .float32 }
}

extension Operator where Output == RecurrenceOutput, Problem: RecurrenceProblem {
  public static func dtype(of output: RecurrenceOutput, in problem: Problem) -> DType {
    output == .output ? problem.dtype : problem.stateDType
  }
}

extension OperatorArguments where Op.Output == RecurrenceOutput, Op.Problem: RecurrenceProblem {
  /// The device of the tensors.
  var device: Device { problem.device }
  var stateDType: DType { problem.stateDType }
  var stateShape: Shape { Op.shape(of: .finalState, in: problem) }
}

extension OperatorTensors where Key == RecurrenceOutput {
  /// What a kernel computes.
  public init(output: Tensor, finalState: Tensor, checkpoints: Tensor? = nil) {
    self = [.output: output, .finalState: finalState, .checkpoints: checkpoints]
  }

  /// The outputs that every kernel computes.
  public var output: Tensor { self[.output]! }
  public var finalState: Tensor { self[.finalState]! }
}

extension OperatorResults where Op.Output == RecurrenceOutput {
  init(output: Tensor, finalState: Tensor, explanation: Explanation) {
    self.init(
      outputs: OperatorTensors(output: output, finalState: finalState), explanation: explanation)
  }

  /// The output of each token, in the dtype of the inputs.
  public var output: Tensor { self[.output] }
  /// The state of each sequence after its last token: float32, or float64 with float64 inputs. That of an
  /// empty sequence is its initial state.
  public var finalState: Tensor { self[.finalState] }
}

/// Consecutive tokens of one row of the batch that share a state.
public struct TokenSequence: Hashable, Sendable {
  public let row: Int
  public let tokens: Range<Int>
}

/// The sequences of a call: the rows of the batch, or those packed into one row. Rows take no memory,
/// however many there are.
public struct TokenSequences: RandomAccessCollection, Sendable {
  private enum Source: Sendable {
    case rows(Int, length: Int)
    /// The cumulative lengths.
    case packed([Int])
  }

  private let source: Source

  /// All tokens of each row.
  init(rows: Int, length: Int) { source = .rows(rows, length: length) }

  /// The tokens between adjacent `bounds`, which never fall; there is at least one.
  init(packed bounds: [Int]) { source = .packed(bounds) }

  public var startIndex: Int { 0 }
  public var endIndex: Int {
    switch source {
    case .rows(let count, _): count
    case .packed(let bounds): bounds.count - 1
    }
  }

  public subscript(number: Int) -> TokenSequence {
    switch source {
    case .rows(_, let length): TokenSequence(row: number, tokens: 0..<length)
    case .packed(let bounds): TokenSequence(row: 0, tokens: bounds[number]..<bounds[number + 1])
    }
  }
}
