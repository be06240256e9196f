import AttentionTensors

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

  /// The device of the tensors.
  var device: Device { problem.device }

  public var carried: CarriedState<SelectiveScan>? {
    CarriedState(from: .initialState, to: .finalState, initialState)
  }

  /// The dtype of states.
  var stateDType: DType { problem.stateDType }
  var stateShape: Shape { SelectiveScan.shape(of: .finalState, in: problem) }

  init(_ call: OperatorCall<SelectiveScan>) throws {
    let inputs = call.inputs.mapTensors { $1.detached() }
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
