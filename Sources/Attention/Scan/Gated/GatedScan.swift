import AttentionTensors

/// What `gatedScan` returns.
public struct GatedScanResult: Sendable {
  /// The states after each token, [b, t, d] in the dtype of the inputs.
  public let output: Tensor
  /// The state after the last token of each sequence, [n, d]: float32, or float64 where the inputs
  /// are float64. An empty sequence ends in its initial state.
  public let finalState: Tensor
  /// Which kernel ran, and why.
  public let explanation: Explanation
}

/// A state a channel that decays and receives, by gates that may depend on the token:
///
///     h_t = exp(decay_t) ⊙ h_{t−1} + inputs_t
///
/// The recurrence of gated linear recurrent networks
/// ([Martin and Cundy](https://arxiv.org/abs/1709.04057)): HGRN, minGRU, minLSTM and RG-LRU are a
/// few lines over it. A decay of −∞ forgets everything before.
///
/// Gradients flow to all inputs, from the output and the final state. Half precision is computed in
/// float32; the gradient of the decay reads the states as the output has them.
///
/// - Parameters:
///   - inputs: `[b, t, d]` in float32, bfloat16, float16 or (reference only) float64. Views are read
///     through their strides.
///   - decay: `[b, t, d]`, the natural logarithm of the decay, at most 0, in any floating-point dtype.
///   - initialState: `[n, d]` in any floating-point dtype, n being the batch or the number of packed
///     sequences; nil is zero.
///   - cumulativeLengths: `int32 [n + 1]`, from 0 to t, where n sequences, empty ones allowed, are
///     packed one behind the other into one row of the batch.
///   - kernel: the name of the kernel to run; nil takes the one with the lowest estimate.
/// - Throws: ``AttentionError`` naming the argument that is wrong, or saying why the kernel cannot
///   run.
public func gatedScan(
  inputs: Tensor, decay: Tensor, initialState: Tensor? = nil, cumulativeLengths: Tensor? = nil,
  kernel: String? = nil
) throws -> GatedScanResult {
  let sources = [inputs, decay] + [initialState].compactMap { $0 }
  let needsGradient = sources.contains(where: \.isTracked)
  let call = try GatedScanCall(
    inputs: inputs, decay: decay, initialState: initialState,
    cumulativeLengths: cumulativeLengths, needsGradient: needsGradient)
  let verdict = try GatedScan.verdicts.verdict(on: call.problem, kernel)
  let chosen = try verdict.kernel()
  let outputs = try chosen.outputs(of: call)
  let dtypes = sources.map(\.dtype)
  let recorded = Tensor.recording(
    [outputs.output, outputs.finalState], from: sources, operation: "gatedScan"
  ) {
    let gradients = try chosen.gradients(
      of: call, outputs, outputGradient: $0[0]?.detached(), finalStateGradient: $0[1]?.detached())
    let all =
      [gradients.inputs, gradients.decay] + [gradients.initialState].prefix(dtypes.count - 2)
    return try zip(all, dtypes).map { try $0.cast(to: $1) }
  }
  return GatedScanResult(
    output: recorded[0], finalState: recorded[1], explanation: verdict.explanation)
}

/// The kernels of ``gatedScan(inputs:decay:initialState:cumulativeLengths:kernel:)`` and the choice
/// between them.
public enum GatedScan {
  /// All kernels; of equal estimates the earlier is taken.
  public static let kernels: [any GatedScanKernel] = [
    SinglePassScan(), BlockedScan(), GatedScanReference(), DeviceScan(),
  ]

  /// The verdict on a call with these arguments, without running it.
  ///
  /// `device` is where the call would run; nil is where the tensors are.
  /// - Throws: ``AttentionError`` as the operator does for wrong arguments.
  public static func explain(
    inputs: Tensor, decay: Tensor, initialState: Tensor? = nil, cumulativeLengths: Tensor? = nil,
    kernel: String? = nil, needsGradient: Bool, device: Device? = nil
  ) throws -> Explanation {
    let call = try GatedScanCall(
      inputs: inputs.withoutElements(), decay: decay.withoutElements(),
      initialState: initialState?.withoutElements(), cumulativeLengths: cumulativeLengths,
      needsGradient: needsGradient)
    var problem = call.problem
    problem.device = device ?? problem.device
    return try verdicts.verdict(on: problem, kernel).explanation
  }

  static let verdicts = Verdicts<GatedScanProblem, any GatedScanKernel>("gatedScan", kernels) {
    $0.asKernel
  }
}
