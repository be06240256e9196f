import AttentionTensors

/// Forward and backward as two calls, for callers who keep a tape of their own.
extension ExactAttention {
  package static func forward(_ inputs: ExactInputs, kernel: String?) throws -> ExactOutputs {
    try chosen(inputs, kernel).outputs(of: inputs)
  }

  /// The gradients of inputs whose problem asks for them, given the output [b,t,h,v] and log-sum-exp
  /// [b,h,t] that ``forward(_:kernel:)`` computed of the same; nil is a gradient of zero.
  package static func backward(
    _ inputs: ExactInputs, output: Tensor, logSumExp: Tensor, outputGradient: Tensor?,
    logSumExpGradient: Tensor?, kernel: String?
  ) throws -> ExactGradients {
    try chosen(inputs, kernel).gradients(
      of: inputs, ExactOutputs(output: output, logSumExp: logSumExp),
      outputGradient: outputGradient,
      logSumExpGradient: logSumExpGradient)
  }

  private static func chosen(_ inputs: ExactInputs, _ kernel: String?) throws -> any ExactKernel {
    try verdicts.verdict(on: inputs.problem, kernel).kernel()
  }
}
