import AttentionTensors

/// What a selective scan computes.
public struct SelectiveScanOutputs: Sendable {
  /// [b, t, d] in the inputs' dtype.
  public var output: Tensor
  /// [n, d, s]
  public var finalState: Tensor
  /// States between tokens that the kernel keeps for its backward pass, if it does.
  var checkpoints: Tensor?
}

/// The gradients of what a selective scan reads, whether it was given or not.
public struct SelectiveScanGradients: Sendable {
  /// [b, t, d] each
  public var inputs, step: Tensor
  /// [d, s]
  public var stateMatrix: Tensor
  /// [b, t, s] each
  public var inputMatrix, outputMatrix: Tensor
  /// [d] each
  public var skip, stepBias: Tensor
  /// [n, d, s]
  public var initialState: Tensor

  /// In the order of the operator's arguments.
  var all: [Tensor] {
    [inputs, step, stateMatrix, inputMatrix, outputMatrix, skip, stepBias, initialState]
  }
}

extension SelectiveScanKernel {
  /// ``forward(_:)``, but for calls without tokens: the states stay, and zeros are stored once.
  func outputs(of call: SelectiveScanCall) throws -> SelectiveScanOutputs {
    guard !call.hasTokens else { return try forward(call) }
    return SelectiveScanOutputs(
      output: try .zeros(call.inputs.shape, dtype: call.problem.dtype, device: call.device),
      finalState: try call.initialState
        ?? .zeros(call.stateShape, dtype: call.stateDType, device: call.device))
  }

  /// ``backward(_:_:outputGradient:finalStateGradient:)``, but for calls without tokens, likewise.
  func gradients(
    of call: SelectiveScanCall, _ outputs: SelectiveScanOutputs, outputGradient: Tensor?,
    finalStateGradient: Tensor?
  ) throws -> SelectiveScanGradients {
    guard !call.hasTokens else {
      return try backward(
        call, outputs, outputGradient: outputGradient, finalStateGradient: finalStateGradient)
    }
    func zeros(_ tensor: Tensor) throws -> Tensor {
      try .zeros(tensor.shape, dtype: tensor.dtype, device: call.device)
    }
    let perChannel = try Tensor.zeros([call.problem.channels], device: call.device)
    return SelectiveScanGradients(
      inputs: try zeros(call.inputs), step: try zeros(call.step),
      stateMatrix: try zeros(call.stateMatrix), inputMatrix: try zeros(call.inputMatrix),
      outputMatrix: try zeros(call.outputMatrix), skip: perChannel, stepBias: perChannel,
      initialState: try finalStateGradient ?? zeros(outputs.finalState))
  }
}

/// One way to compute selective scans.
public protocol SelectiveScanKernel: Kernel<SelectiveScanProblem> {
  /// Runs the scan. Asked only where there is no objection.
  func forward(_ call: SelectiveScanCall) throws -> SelectiveScanOutputs

  /// The gradients, given what ``forward(_:)`` returned and what flows into it; nil is zero.
  func backward(
    _ call: SelectiveScanCall, _ outputs: SelectiveScanOutputs, outputGradient: Tensor?,
    finalStateGradient: Tensor?
  ) throws -> SelectiveScanGradients
}
