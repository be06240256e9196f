import AttentionTensors

/// What a gated scan computes.
public struct GatedScanOutputs: Sendable {
  /// [b, t, d] in the inputs' dtype.
  public var output: Tensor
  /// [n, d]
  public var finalState: Tensor
}

/// The gradients of what a gated scan reads.
public struct GatedScanGradients: Sendable {
  /// [b, t, d]
  public var inputs: Tensor
  /// [b, t, d]
  public var decay: Tensor
  /// [n, d], whether an initial state was given or not.
  public var initialState: Tensor
}

extension GatedScanKernel {
  /// ``forward(_:)``, but for calls without tokens: the states stay, and zeros are stored once.
  func outputs(of call: GatedScanCall) throws -> GatedScanOutputs {
    guard !call.hasTokens else { return try forward(call) }
    return GatedScanOutputs(
      output: try .zeros(call.inputs.shape, dtype: call.problem.dtype, device: call.device),
      finalState: try call.initialState
        ?? .zeros(call.stateShape, dtype: call.stateDType, device: call.device))
  }

  /// ``backward(_:_:outputGradient:finalStateGradient:)``, but for calls without tokens, likewise.
  func gradients(
    of call: GatedScanCall, _ outputs: GatedScanOutputs, outputGradient: Tensor?,
    finalStateGradient: Tensor?
  ) throws -> GatedScanGradients {
    guard !call.hasTokens else {
      return try backward(
        call, outputs, outputGradient: outputGradient, finalStateGradient: finalStateGradient)
    }
    func zeros(_ shape: Shape, _ dtype: DType) throws -> Tensor {
      try .zeros(shape, dtype: dtype, device: call.device)
    }
    return GatedScanGradients(
      inputs: try zeros(call.inputs.shape, call.inputs.dtype),
      decay: try zeros(call.decay.shape, call.decay.dtype),
      initialState: try finalStateGradient ?? zeros(call.stateShape, call.stateDType))
  }
}

/// One way to compute gated scans.
public protocol GatedScanKernel: Kernel<GatedScanProblem> {
  /// Runs the scan. Asked only where there is no objection.
  func forward(_ call: GatedScanCall) throws -> GatedScanOutputs

  /// The gradients, given what ``forward(_:)`` returned and what flows into it; nil is zero.
  func backward(
    _ call: GatedScanCall, _ outputs: GatedScanOutputs, outputGradient: Tensor?,
    finalStateGradient: Tensor?
  ) throws -> GatedScanGradients
}
