import Tensors

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
  /// The bias's own shape.
  public var bias: Tensor?
  /// [b,t,h]
  public var logitDecay: Tensor?
  /// [h]
  public var sinks: Tensor?
}
