import AttentionTensors

/// A kernel of exact attention.
public protocol ExactKernel: Kernel<ExactProblem> {
  /// The output [b,t,h,v] in the inputs' dtype and the log-sum-exp [b,h,t] in float32.
  func forward(_ inputs: ExactInputs) throws -> ExactOutputs

  /// Gradients from those of the outputs; nil stands for zero.
  func backward(
    _ inputs: ExactInputs, _ outputs: ExactOutputs, outputGradient: Tensor?,
    logSumExpGradient: Tensor?
  ) throws -> ExactGradients
}

extension ExactKernel {
  /// ``forward(_:)``, but for calls without queries, of which nothing is computed.
  func outputs(of inputs: ExactInputs) throws -> ExactOutputs {
    guard !inputs.hasQueries else { return try forward(inputs) }
    let problem = inputs.problem
    return ExactOutputs(
      output: try .zeros(
        [problem.batch, problem.queryLength, problem.heads, problem.valueDimension],
        dtype: inputs.dtype, device: inputs.device),
      logSumExp: try .zeros(
        [problem.batch, problem.heads, problem.queryLength], device: inputs.device))
  }

  /// ``backward(_:_:outputGradient:logSumExpGradient:)``, but for calls without queries: their gradients
  /// are zeros that are stored once.
  func gradients(
    of inputs: ExactInputs, _ outputs: ExactOutputs, outputGradient: Tensor?,
    logSumExpGradient: Tensor?
  ) throws -> ExactGradients {
    guard !inputs.hasQueries else {
      return try backward(
        inputs, outputs, outputGradient: outputGradient, logSumExpGradient: logSumExpGradient)
    }
    func zeros(_ shape: Shape, _ dtype: DType = .float32) throws -> Tensor {
      try .zeros(shape, dtype: dtype, device: inputs.device)
    }
    return ExactGradients(
      queries: try zeros(inputs.queries.shape, inputs.dtype),
      keys: try zeros(inputs.keys.shape, inputs.dtype),
      values: try zeros(inputs.values.shape, inputs.dtype),
      scale: try inputs.scales.map { try zeros($0.shape) },
      bias: try inputs.biasGradientShape.map { try zeros($0) },
      logitDecay: try inputs.logitDecay.map { try zeros($0.shape) },
      sinks: try inputs.sinkLogits.map { try zeros($0.shape) })
  }
}

/// What exact attention computes.
public struct ExactOutputs: Sendable {
  public var output: Tensor
  public var logSumExp: Tensor
}

/// The gradients of exact attention, float32 or wider; the operator rounds them to the inputs'
/// dtypes.
public struct ExactGradients: Sendable {
  /// [b,t,h,k], [b,s,hₖ,k], [b,s,hₖ,v]
  public var queries: Tensor
  public var keys: Tensor
  public var values: Tensor
  /// [h]
  public var scale: Tensor?
  /// The bias's own shape; nil where the problem does not ask for it.
  public var bias: Tensor?
  /// [b,t,h]
  public var logitDecay: Tensor?
  /// [h]
  public var sinks: Tensor?
}
