import AttentionTensors

/// A public function of a mathematical family, declared once: its tensors, its options, its problem and its
/// kernels. The Swift function, the command line, the C interface, Python and conformance read it here.
public protocol Operator: Sendable {
  /// The only table of the tensors that it reads.
  associatedtype Input: OperatorInput
  /// The tensors that it computes.
  associatedtype Output: OperatorOutput
  /// What a call says beside its tensors.
  associatedtype Options: Sendable
  /// What kernels judge by.
  associatedtype Problem: OperatorProblem
  /// The sequences of a call: the rows of the batch, or those packed into one row.
  associatedtype Sequences: Sendable
  /// What kernels read of a call.
  associatedtype Arguments: OperatorArguments<Self>

  /// The function's name, as `attention`.
  static var name: String { get }
  /// The outputs that backward passes read: a caller who keeps a tape of his own must keep them too.
  static var readBackward: [Output] { get }
  /// Its kernels, and the choice between them.
  static var registry: KernelRegistry<Self> { get }

  /// Checks that tensors and options go together. Devices are checked before.
  ///
  /// - Parameters:
  ///   - inputs: the tensors of the call.
  ///   - options: what it says beside them.
  ///   - gradients: those that are wanted.
  /// - Throws: ``AttentionError/invalidArgument(_:was:mustBe:)`` naming the first that does not fit.
  static func check(
    _ inputs: OperatorTensors<Input>, _ options: Options, _ gradients: WantedGradients<Input>
  ) throws -> (problem: Problem, sequences: Sequences)

  static func shape(of output: Output, in problem: Problem) -> Shape
  static func dtype(of output: Output, in problem: Problem) -> DType

  /// What kernels read of a call that was checked; reads numbers of tensors on the CPU where kernels need them.
  static func arguments(of call: OperatorCall<Self>, destinations: OperatorDestinations<Self>)
    throws -> Arguments
}

extension Operator {
  @inlinable
  public static var readBackward: [Output] { [] }

  /// All kernels, those from outside of the package last; of equal estimates the earlier is taken.
  public static var kernels: [any OperatorKernel<Self>] { registry.kernels }

  /// Makes `kernel` a candidate of every later call: verdicts have it, a call can ask for it by name, and
  /// conformance runs it wherever it does not object.
  ///
  /// Calls from other threads that are being judged meanwhile may do without it.
  ///
  /// - Throws: ``AttentionError/invalidArgument(_:was:mustBe:)`` if a kernel of the operator has its name.
  public static func register(_ kernel: any OperatorKernel<Self>) throws {
    try registry.register(kernel)
  }

  /// The tensors that it reads.
  @inlinable
  public static var inputs: [Input] { registry.inputs }
  /// What holds of each of ``inputs``.
  @inlinable
  public static var facts: [InputFacts] { registry.facts }
  /// Those that have gradients, where they hold numbers.
  public static var differentiable: [Input] { inputs.filter(\.facts.isDifferentiable) }
  /// The tensors that it computes.
  @inlinable
  public static var results: [Output] { registry.results }

  /// The verdict on a problem.
  ///
  /// - Throws: ``AttentionError/unknownKernel(_:known:)`` if no kernel has the name asked for.
  public static func explain(_ problem: Problem, kernel: String? = nil) throws -> Explanation {
    try registry.verdict(on: problem, kernel).explanation
  }
}

/// A tensor that an operator reads. The raw value is its name in files, C and Python; the cases stand in the
/// order of the C struct.
public protocol OperatorInput:
  Hashable, Sendable, CaseIterable, RawRepresentable
where RawValue == String, AllCases == [Self] {
  var facts: InputFacts { get }
  /// Its name in Swift, as errors have it.
  var argument: String { get }
  /// Its name in the C struct and in Python, if another than in files.
  var field: String { get }
}

extension OperatorInput {
  public var argument: String { "\(self)" }
  public var field: String { rawValue }
}

/// What holds of a tensor that an operator reads.
public struct InputFacts: Sendable {
  /// What a tensor may hold.
  public enum Kind: Sendable {
    case floatingPoint, floatingPointOrBool, bool, int32

    public func accepts(_ dtype: DType) -> Bool {
      switch self {
      case .floatingPoint: dtype.isFloatingPoint
      case .floatingPointOrBool: dtype.isFloatingPoint || dtype == .bool
      case .bool: dtype == .bool
      case .int32: dtype == .int32
      }
    }
  }

  /// A required tensor in the dtype that the call computes in.
  public static func operand(_ shape: String, _ help: String = "") -> InputFacts {
    InputFacts(shape, help, isRequired: true, isInCallDType: true)
  }

  /// As `[b,t,h,k]`.
  public let shape: String
  public let kind: Kind
  public let isRequired: Bool
  /// What it is, in a line; empty where shape and name say it.
  public let help: String
  /// Whether it is in the dtype that the call computes in, as the first input.
  public let isInCallDType: Bool
  /// Whether the processor reads it, wherever the call runs.
  public let isHosted: Bool

  public init(
    _ shape: String, _ help: String = "", kind: Kind = .floatingPoint, isRequired: Bool = false,
    isInCallDType: Bool = false, isHosted: Bool = false
  ) {
    self.shape = shape
    self.help = help
    self.kind = kind
    self.isRequired = isRequired
    self.isInCallDType = isInCallDType
    self.isHosted = isHosted
  }

  /// Packed sequences, of which every operator knows.
  public static let cumulativeLengths = InputFacts(
    "[n+1]", "packed sequences, b is 1", kind: .int32, isHosted: true)

  /// Whether there are gradients with respect to it, where it holds numbers.
  @inlinable
  public var isDifferentiable: Bool { kind == .floatingPoint || kind == .floatingPointOrBool }
}

/// A tensor that an operator computes. The raw value is its name in files, C and Python; the cases stand in
/// the order of the C struct.
public protocol OperatorOutput:
  Hashable, Sendable, CaseIterable, RawRepresentable
where RawValue == String, AllCases == [Self] {
  /// Whether callers see it; else it is what a kernel keeps for its backward pass.
  var isResult: Bool { get }
}

extension OperatorOutput {
  public var isResult: Bool { true }
}

/// What is asked of an operator, without the numbers: all that kernels judge by.
public protocol OperatorProblem: Hashable, Sendable, CustomStringConvertible {
  /// Where it is to be solved.
  var device: Device { get set }
  var needsGradient: Bool { get set }
  /// Whether there is anything to compute; else outputs are zeros, or a state that was given.
  var hasWork: Bool { get }
}

/// The gradients that are asked for of a call.
public struct WantedGradients<Input: OperatorInput>: Sendable {
  /// Whether there will be a backward pass: the kernel of both is chosen for it.
  public var areNeeded: Bool
  /// The inputs whose gradients are read of it.
  public var inputs: [Input]

  @inlinable
  public init(areNeeded: Bool, inputs: [Input]) {
    self.areNeeded = areNeeded
    self.inputs = inputs
  }

  /// Those of the tensors that are tracked.
  init(ofTracked tensors: OperatorTensors<Input>) {
    inputs = tensors.keys.indices.filter { tensors.tensors[$0].isTracked }.map { tensors.keys[$0] }
    areNeeded = !inputs.isEmpty
  }
}

/// What kernels read of a call: its tensors, checked and without history, and what follows from them.
public protocol OperatorArguments<Op>: Sendable {
  associatedtype Op: Operator

  var problem: Op.Problem { get }
  /// The state that stays where there is nothing to compute: an output, the input that it then is, and that
  /// input as kernels read it; nil without states.
  var carried: CarriedState<Op>? { get }
}

extension OperatorArguments {
  public var carried: CarriedState<Op>? { nil }
}

/// A state that an operator carries from call to call.
public struct CarriedState<Op: Operator>: Sendable {
  public let from: Op.Input
  public let to: Op.Output
  /// As kernels read it; nil for a state of zeros.
  public let tensor: Tensor?

  public init(from: Op.Input, to: Op.Output, _ tensor: Tensor?) {
    self.from = from
    self.to = to
    self.tensor = tensor
  }
}

/// Memory of the caller that results are wanted in; none for fresh memory.
///
/// Kernels may write there what they compute in the place's shape, dtype and order; what they compute otherwise
/// is in fresh memory, and the caller copies it. Nothing else may be in that memory that is read meanwhile.
public struct OperatorDestinations<Op: Operator>: Sendable {
  public var outputs: OperatorTensors<Op.Output>
  public var gradients: OperatorTensors<Op.Input>

  public init(outputs: OperatorTensors<Op.Output> = [:], gradients: OperatorTensors<Op.Input> = [:])
  {
    self.outputs = outputs
    self.gradients = gradients
  }
}
