import AttentionTensors

/// What `selectiveScan` returns.
public struct SelectiveScanResult: Sendable {
  /// [b, t, d] in the dtype of the inputs.
  public let output: Tensor
  /// The states after the last token of each sequence, [n, d, s]: float32, or float64 where the
  /// inputs are float64. An empty sequence ends in its initial state.
  public let finalState: Tensor
  /// Which kernel ran, and why.
  public let explanation: Explanation
}

/// Mamba's selective scan: every channel has s states that decay at rates of their own and are
/// written and read by directions that all channels share; a step Δ, by channel and token, says how
/// much time passes:
///
///     h_t = exp(Δ_t A) ⊙ h_{t−1} + Δ_t x_t B_t ,   y_t = C_tᵀ h_t + D x_t
///
/// with Δ = step, or softplus(step + bias). Δ A is at most 0; an A of −∞ clears the state wherever Δ is not 0.
///
/// Gradients flow to all inputs, from the output and the final state. Half precision is computed in
/// float32.
///
/// Reference: Gu, Dao, [Mamba](https://arxiv.org/abs/2312.00752) (2023), equation 2 and section 3.2.
///
/// - Parameters:
///   - inputs: x, [b, t, d] in float32, bfloat16, float16 or (reference only) float64. Views are
///     read through their strides.
///   - step: Δ, [b, t, d] in any floating-point dtype.
///   - stateMatrix: A, [d, s], negative, in any floating-point dtype.
///   - inputMatrix: B, [b, t, s] in any floating-point dtype.
///   - outputMatrix: C, [b, t, s] in any floating-point dtype.
///   - skip: D, [d] in any floating-point dtype; nil is zero.
///   - stepBias: `[d]`, added to the step before the softplus; nil is zero.
///   - appliesSoftplus: whether Δ is log(1 + e^(step + bias)).
///   - initialState: `[n, d, s]` in any floating-point dtype, n being the batch or the number of packed
///     sequences; nil is zero.
///   - cumulativeLengths: `int32 [n + 1]`, from 0 to t, where n sequences, empty ones allowed, are
///     packed one behind the other into one row of the batch.
///   - kernel: the name of the kernel to run; nil takes the one with the lowest estimate.
/// - Throws: ``AttentionError`` naming the argument that is wrong, or saying why the kernel cannot
///   run.
public func selectiveScan(
  inputs: Tensor, step: Tensor, stateMatrix: Tensor, inputMatrix: Tensor, outputMatrix: Tensor,
  skip: Tensor? = nil, stepBias: Tensor? = nil, appliesSoftplus: Bool = false,
  initialState: Tensor? = nil, cumulativeLengths: Tensor? = nil, kernel: String? = nil
) throws -> SelectiveScanResult {
  let given = [inputs, step, stateMatrix, inputMatrix, outputMatrix, skip, stepBias, initialState]
  let sources = given.compactMap { $0 }
  let call = try SelectiveScanCall(
    inputs: inputs, step: step, stateMatrix: stateMatrix, inputMatrix: inputMatrix,
    outputMatrix: outputMatrix, skip: skip, stepBias: stepBias, appliesSoftplus: appliesSoftplus,
    initialState: initialState, cumulativeLengths: cumulativeLengths,
    needsGradient: sources.contains(where: \.isTracked))
  let verdict = try SelectiveScan.verdicts.verdict(on: call.problem, kernel)
  let chosen = try verdict.kernel()
  let outputs = try chosen.outputs(of: call)
  let dtypes = sources.map(\.dtype)
  let isGiven = given.map { $0 != nil }
  let recorded = Tensor.recording(
    [outputs.output, outputs.finalState], from: sources, operation: "selectiveScan"
  ) {
    let gradients = try chosen.gradients(
      of: call, outputs, outputGradient: $0[0]?.detached(), finalStateGradient: $0[1]?.detached())
    let wanted = zip(gradients.all, isGiven).filter(\.1).map(\.0)
    return try zip(wanted, dtypes).map { try $0.cast(to: $1) }
  }
  return SelectiveScanResult(
    output: recorded[0], finalState: recorded[1], explanation: verdict.explanation)
}

/// The kernels of
/// ``selectiveScan(inputs:step:stateMatrix:inputMatrix:outputMatrix:skip:stepBias:appliesSoftplus:initialState:cumulativeLengths:kernel:)``
/// and the choice between them.
public enum SelectiveScan {
  /// All kernels; of equal estimates the earlier is taken.
  public static let kernels: [any SelectiveScanKernel] = [
    SelectiveTiles(), SelectiveStep(), SelectiveScanReference(), DeviceSelectiveScan(),
  ]

  /// The verdict on a call with these arguments, without running it.
  ///
  /// `device` is where the call would run; nil is where the tensors are.
  /// - Throws: ``AttentionError`` as the operator does for wrong arguments.
  public static func explain(
    inputs: Tensor, step: Tensor, stateMatrix: Tensor, inputMatrix: Tensor, outputMatrix: Tensor,
    skip: Tensor? = nil, stepBias: Tensor? = nil, appliesSoftplus: Bool = false,
    initialState: Tensor? = nil, cumulativeLengths: Tensor? = nil, kernel: String? = nil,
    needsGradient: Bool, device: Device? = nil
  ) throws -> Explanation {
    let call = try SelectiveScanCall(
      inputs: inputs.withoutElements(), step: step.withoutElements(),
      stateMatrix: stateMatrix.withoutElements(), inputMatrix: inputMatrix.withoutElements(),
      outputMatrix: outputMatrix.withoutElements(), skip: skip?.withoutElements(),
      stepBias: stepBias?.withoutElements(), appliesSoftplus: appliesSoftplus,
      initialState: initialState?.withoutElements(), cumulativeLengths: cumulativeLengths,
      needsGradient: needsGradient)
    var problem = call.problem
    problem.device = device ?? problem.device
    return try verdicts.verdict(on: problem, kernel).explanation
  }

  static let verdicts = Verdicts<SelectiveScanProblem, any SelectiveScanKernel>(
    "selectiveScan", kernels
  ) {
    $0.asKernel
  }
}
