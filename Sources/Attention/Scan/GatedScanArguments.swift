import AttentionTensors

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

  /// The device of the tensors.
  var device: Device { problem.device }

  public var carried: CarriedState<GatedScan>? {
    CarriedState(from: .initialState, to: .finalState, initialState)
  }

  /// The dtype of states.
  var stateDType: DType { problem.stateDType }
  var stateShape: Shape { GatedScan.shape(of: .finalState, in: problem) }

  init(_ call: OperatorCall<GatedScan>) throws {
    let inputs = call.inputs.mapTensors { $1.detached() }
    problem = call.problem
    sequences = call.sequences
    self.inputs = try inputs.required(.inputs).withDenseRows()
    decay = try inputs.required(.decay).cast(to: problem.decayDType).withDenseRows()
    initialState = try inputs[.initialState]?.cast(to: problem.stateDType).contiguous()
  }
}
