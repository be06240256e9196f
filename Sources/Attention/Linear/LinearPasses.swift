import AttentionTensors

/// Forward and backward as two calls, for callers who keep a tape of their own.
extension LinearAttention {
  package static func forward(_ call: LinearCall, kernel: String?) throws -> LinearOutputs {
    try chosen(call, kernel).outputs(of: call)
  }

  /// The gradients of a call whose problem asks for them, those of shared heads and tokens still apart
  /// (``AttentionTensors/Tensor/folded(to:)`` adds them); nil is a gradient of zero.
  package static func backward(
    _ call: LinearCall, outputGradient: Tensor?, finalStateGradient: Tensor?, kernel: String?
  ) throws -> LinearGradients {
    try chosen(call, kernel).gradients(
      of: call, outputGradient: outputGradient, finalStateGradient: finalStateGradient)
  }

  /// The verdict on a call, were it on `device`; nothing is computed.
  package static func explain(
    _ call: LinearCall, on device: Device, kernel: String?
  ) throws -> Explanation {
    var problem = call.problem
    problem.device = device
    return try verdicts.verdict(on: problem, kernel).explanation
  }

  private static func chosen(_ call: LinearCall, _ kernel: String?) throws -> any LinearKernel {
    try verdicts.verdict(on: call.problem, kernel).kernel()
  }
}

extension LinearCall {
  package var outputShape: Shape {
    [problem.batch, problem.length, problem.valueHeads, problem.valueDimension]
  }

  package var stateShape: Shape {
    [problem.sequences, problem.valueHeads, problem.keyDimension, problem.valueDimension]
  }

  /// The dtype of states.
  package var stateDType: DType { problem.dtype == .float64 ? .float64 : .float32 }
}
