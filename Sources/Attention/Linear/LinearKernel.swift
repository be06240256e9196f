import AttentionTensors

/// A way to compute linear attention and its gradients.
public protocol LinearKernel: Kernel<LinearProblem> {
  /// The output [b, t, hv, v] in the dtype of the queries, and the final state [n, hv, k, v] in
  /// float32 (float64 for float64 queries).
  func forward(_ call: LinearCall) throws -> LinearOutputs

  /// The gradients of a call without objection, where its problem asks for gradients.
  ///
  /// - Parameters:
  ///   - call: what ``forward(_:)`` computed.
  ///   - outputGradient: `[b, t, hv, v]` in the dtype of the queries; nil is zero.
  ///   - finalStateGradient: `[n, hv, k, v]` in the dtype of the state; nil is zero.
  func backward(
    _ call: LinearCall, outputGradient: Tensor?, finalStateGradient: Tensor?
  ) throws -> LinearGradients
}

extension LinearKernel {
  /// ``forward(_:)``, but for calls without tokens: the states stay, and zeros are stored once.
  func outputs(of call: LinearCall) throws -> LinearOutputs {
    guard !call.hasTokens else { return try forward(call) }
    return LinearOutputs(
      output: try .zeros(call.outputShape, dtype: call.problem.dtype, device: call.device),
      finalState: try call.initialState
        ?? .zeros(call.stateShape, dtype: call.stateDType, device: call.device))
  }

  /// ``backward(_:outputGradient:finalStateGradient:)``, but for calls without tokens, likewise.
  func gradients(
    of call: LinearCall, outputGradient: Tensor?, finalStateGradient: Tensor?
  ) throws -> LinearGradients {
    guard !call.hasTokens else {
      return try backward(
        call, outputGradient: outputGradient, finalStateGradient: finalStateGradient)
    }
    let problem = call.problem
    let rows: Shape = [
      problem.batch, problem.length, problem.valueHeads, problem.keyDimension,
    ]
    func zeros(_ shape: Shape, _ dtype: DType) throws -> Tensor {
      try .zeros(shape, dtype: dtype, device: call.device)
    }
    return LinearGradients(
      queries: try zeros(rows, problem.dtype), keys: try zeros(rows, problem.dtype),
      values: try zeros(call.values.shape, problem.dtype),
      decay: try call.decay.map { try zeros($0.shape, $0.dtype) },
      update: try call.update.tensors.map { try zeros($0.shape, $0.dtype) },
      initialState: try call.initialState.map {
        try finalStateGradient ?? zeros($0.shape, $0.dtype)
      })
  }
}

/// What a kernel computes forward.
public struct LinearOutputs: Sendable {
  public let output: Tensor
  public let finalState: Tensor

  public init(output: Tensor, finalState: Tensor) {
    self.output = output
    self.finalState = finalState
  }
}

/// What a kernel computes backward.
public struct LinearGradients: Sendable {
  /// [b, t, hv, k]: one a value head, in any floating-point dtype. Those of value heads that share a
  /// query head are added by the operator.
  public let queries: Tensor
  /// [b, t, hv, k], as the queries.
  public let keys: Tensor
  /// [b, t, hv, v]
  public let values: Tensor
  /// [b, t, hv, 1] or [b, t, hv, k] as ``LinearCall/decay``; nil without decay, and maybe where nobody wants it.
  public let decay: Tensor?
  /// The gradients of the update's tensors: β [b, t, hv, 1]; read keys, a and b [b, t, hv, k]; the
  /// bonus [hv, k].
  public let update: [Tensor]
  /// [n, hv, k, v]; nil without an initial state.
  public let initialState: Tensor?

  public init(
    queries: Tensor, keys: Tensor, values: Tensor, decay: Tensor?, update: [Tensor] = [],
    initialState: Tensor?
  ) {
    self.queries = queries
    self.keys = keys
    self.values = values
    self.decay = decay
    self.update = update
    self.initialState = initialState
  }
}
