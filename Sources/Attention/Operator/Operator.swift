import AttentionTensors

/// A public function of a mathematical family, declared once: its tensors, options, problem and kernels. The
/// Swift functions, command line, C interface, Python and conformance are derived from the declaration.
public protocol Operator: Sendable {
  /// The only table of the tensors that it reads.
  associatedtype Input: OperatorInput
  /// The tensors that it computes.
  associatedtype Output: OperatorOutput
  /// The arguments of a call that are not tensors.
  associatedtype Options: Sendable
  /// A call without its numbers, from which kernels derive objections and costs.
  associatedtype Problem: OperatorProblem
  /// The sequences of a call: the rows of the batch, or those packed into one row.
  associatedtype Sequences: Sendable
  /// A call in the form that kernels read.
  associatedtype Arguments: OperatorArguments<Self>

  /// The function's name, such as `attention`.
  static var name: String { get }
  /// The outputs that backward passes read; a caller with its own tape must keep them.
  static var readBackward: [Output] { get }
  /// Its kernels, and the choice between them.
  static var registry: KernelRegistry<Self> { get }

  /// Validates tensors and options. Presence and devices have been checked before.
  ///
  /// - Parameters:
  ///   - inputs: the tensors of the call.
  ///   - options: the arguments that are not tensors.
  ///   - gradients: the gradients that are wanted.
  /// - Throws: ``AttentionError/invalidArgument(_:was:mustBe:)`` naming the first invalid argument.
  static func check(
    _ inputs: OperatorTensors<Input>, _ options: Options, _ gradients: WantedGradients<Input>
  ) throws -> (problem: Problem, sequences: Sequences)

  static func shape(of output: Output, in problem: Problem) -> Shape
  static func dtype(of output: Output, in problem: Problem) -> DType
}

extension Operator {
  @inlinable
  public static var readBackward: [Output] { [] }

  /// All kernels, those from outside of the package last; of equal estimates the earlier is taken.
  public static var kernels: [any OperatorKernel<Self>] { registry.kernels }

  /// Makes `kernel` a candidate of every later call: verdicts include it, a call can request it by name, and
  /// conformance runs it wherever it does not object.
  ///
  /// Concurrent calls on other threads may not consider it yet.
  ///
  /// - Throws: ``AttentionError/invalidArgument(_:was:mustBe:)`` if a kernel of the operator has its name.
  public static func register(_ kernel: any OperatorKernel<Self>) throws {
    try registry.register(kernel)
  }

  /// The tensors that it reads.
  @inlinable
  public static var inputs: [Input] { registry.inputs }
  /// The facts of each of ``inputs``.
  @inlinable
  public static var facts: [InputFacts] { registry.facts }
  /// Those that have gradients if they are floating-point.
  public static var differentiable: [Input] { inputs.filter(\.facts.isDifferentiable) }
  /// The tensors that it computes.
  @inlinable
  public static var results: [Output] { registry.results }

  /// The verdict on a problem.
  ///
  /// - Throws: ``AttentionError/unknownKernel(_:known:)`` if no kernel has the requested name.
  public static func explain(_ problem: Problem, kernel: String? = nil) throws -> Explanation {
    try registry.verdict(on: problem, kernel).explanation
  }
}

/// A tensor that an operator reads. The raw value is its name in files, C and Python; the cases are in the
/// order of the C struct.
public protocol OperatorInput:
  Hashable, Sendable, CaseIterable, RawRepresentable
where RawValue == String, AllCases == [Self] {
  var facts: InputFacts { get }
  /// Its name in Swift, which errors use.
  var argument: String { get }
  /// Its name in the C struct and in Python, if it differs from the one in files.
  var field: String { get }
}

extension OperatorInput {
  public var argument: String { "\(self)" }
  public var field: String { rawValue }
}

/// The facts about a tensor that an operator reads.
public struct InputFacts: Sendable {
  /// The dtypes that a tensor may have.
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

  /// Such as `[b,t,h,k]`.
  public let shape: String
  public let kind: Kind
  public let isRequired: Bool
  /// Its meaning in one line; empty if shape and name suffice.
  public let help: String
  /// Whether it must have the dtype that the call computes in, that of the first input.
  public let isInCallDType: Bool
  /// Whether the CPU reads it, wherever the call runs, so that it may be on another device.
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

  /// The cumulative lengths of packed sequences, an input of every operator.
  public static let cumulativeLengths = InputFacts(
    "[n+1]", "packed sequences, b is 1", kind: .int32, isHosted: true)

  /// Whether it has a gradient if it is floating-point.
  @inlinable
  public var isDifferentiable: Bool { kind == .floatingPoint || kind == .floatingPointOrBool }
}

/// A tensor that an operator computes. The raw value is its name in files, C and Python; the cases are in the
/// order of the C struct.
public protocol OperatorOutput:
  Hashable, Sendable, CaseIterable, RawRepresentable
where RawValue == String, AllCases == [Self] {
  /// Whether it is returned to callers; otherwise a kernel keeps it for its backward pass.
  var isResult: Bool { get }
}

extension OperatorOutput {
  public var isResult: Bool { true }
}

/// A call without its numbers: everything from which kernels derive objections and costs.
public protocol OperatorProblem: Hashable, Sendable, CustomStringConvertible {
  /// The device that computes it.
  var device: Device { get set }
  var needsGradient: Bool { get set }
  /// Whether there is anything to compute; otherwise outputs are zeros, and a final state is the initial one.
  var hasWork: Bool { get }
}

/// The gradients that a call needs.
public struct WantedGradients<Input: OperatorInput>: Sendable {
  /// Whether there will be a backward pass, which the same kernel must compute.
  public var areNeeded: Bool
  /// The inputs whose gradients are needed.
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

/// A call in the form that kernels read: its tensors, validated and detached, and values derived from them.
public protocol OperatorArguments<Op>: Sendable {
  associatedtype Op: Operator

  var problem: Op.Problem { get }
  /// The state that is passed on unchanged if there is nothing to compute; nil for operators without a state.
  var carried: CarriedState<Op>? { get }

  /// Those of a call that was checked; reads numbers of tensors on the CPU where kernels need them.
  ///
  /// - Parameters:
  ///   - call: a call whose arguments were checked.
  ///   - destinations: memory of the caller that results are wanted in.
  init(_ call: OperatorCall<Op>, destinations: OperatorDestinations<Op>) throws
}

extension OperatorArguments {
  public var carried: CarriedState<Op>? { nil }
}

/// A state that an operator carries from call to call: the input and the output that hold it.
public struct CarriedState<Op: Operator>: Sendable {
  public let from: Op.Input
  public let to: Op.Output
  /// The input in the form that kernels read; nil for a state of zeros.
  public let tensor: Tensor?

  public init(from: Op.Input, to: Op.Output, _ tensor: Tensor?) {
    self.from = from
    self.to = to
    self.tensor = tensor
  }
}

/// The caller's memory for results; without it they are newly allocated.
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
