import AttentionTensors

/// Forward and backward as two calls, for callers who keep a tape of their own.
extension GatedScan {
  package static func forward(_ call: GatedScanCall, kernel: String?) throws -> GatedScanOutputs {
    try chosen(call, kernel).outputs(of: call)
  }

  /// The gradients of a call whose problem asks for them, given the output [b, t, d] that
  /// ``forward(_:kernel:)`` computed of the same; nil is a gradient of zero.
  package static func backward(
    _ call: GatedScanCall, output: Tensor, outputGradient: Tensor?, finalStateGradient: Tensor?,
    kernel: String?
  ) throws -> GatedScanGradients {
    // Final states are not read backward: the output has the states. Kernels read it as they write it.
    let states = try Tensor.zeros(call.stateShape, dtype: call.stateDType)
    return try chosen(call, kernel).gradients(
      of: call, GatedScanOutputs(output: output.contiguous(), finalState: states),
      outputGradient: outputGradient,
      finalStateGradient: finalStateGradient)
  }

  /// The verdict on a call, were it on `device`; nothing is computed.
  package static func explain(
    _ call: GatedScanCall, on device: Device, kernel: String?
  ) throws -> Explanation {
    var problem = call.problem
    problem.device = device
    return try verdicts.verdict(on: problem, kernel).explanation
  }

  private static func chosen(
    _ call: GatedScanCall, _ kernel: String?
  ) throws -> any GatedScanKernel {
    try verdicts.verdict(on: call.problem, kernel).kernel()
  }
}
