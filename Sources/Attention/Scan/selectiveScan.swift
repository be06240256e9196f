import AttentionTensors

/// Mamba's selective scan: every channel has s states that decay at their own rates, and are written and
/// read by vectors that all channels share; a step Δ, by channel and token, is the time that passes:
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
///   - initialState: `[n, d, s]` in any floating-point dtype, with n the batch or the number of packed
///     sequences; nil is zero.
///   - cumulativeLengths: `int32 [n + 1]`, from 0 to t, for n sequences, possibly empty, packed into one
///     row of the batch.
///   - kernel: the name of the kernel to run; nil for the one with the lowest estimate.
/// - Throws: ``AttentionError`` naming the invalid argument, or why the kernel cannot run.
public func selectiveScan(
  inputs: Tensor, step: Tensor, stateMatrix: Tensor, inputMatrix: Tensor, outputMatrix: Tensor,
  skip: Tensor? = nil, stepBias: Tensor? = nil, appliesSoftplus: Bool = false,
  initialState: Tensor? = nil, cumulativeLengths: Tensor? = nil, kernel: String? = nil
) throws -> SelectiveScanResult {
  try OperatorCall<SelectiveScan>(
    inputs: inputs, step: step, stateMatrix: stateMatrix, inputMatrix: inputMatrix,
    outputMatrix: outputMatrix, skip: skip, stepBias: stepBias, appliesSoftplus: appliesSoftplus,
    initialState: initialState, cumulativeLengths: cumulativeLengths, kernel: kernel
  ).run()
}

/// What
/// ``selectiveScan(inputs:step:stateMatrix:inputMatrix:outputMatrix:skip:stepBias:appliesSoftplus:initialState:cumulativeLengths:kernel:)``
/// gives: `output` [b, t, d] in the dtype of the inputs, `finalState` [n, d, s], and which kernel ran.
public typealias SelectiveScanResult = OperatorResults<SelectiveScan>

extension OperatorCall where Op == SelectiveScan {
  /// The call that
  /// ``selectiveScan(inputs:step:stateMatrix:inputMatrix:outputMatrix:skip:stepBias:appliesSoftplus:initialState:cumulativeLengths:kernel:)``
  /// runs, with its arguments.
  ///
  /// - Throws: ``AttentionError/invalidArgument(_:was:mustBe:)`` naming the first invalid argument.
  public init(
    inputs: Tensor, step: Tensor, stateMatrix: Tensor, inputMatrix: Tensor, outputMatrix: Tensor,
    skip: Tensor? = nil, stepBias: Tensor? = nil, appliesSoftplus: Bool = false,
    initialState: Tensor? = nil, cumulativeLengths: Tensor? = nil, kernel: String? = nil
  ) throws {
    try self.init(
      [
        .inputs: inputs, .step: step, .stateMatrix: stateMatrix, .inputMatrix: inputMatrix,
        .outputMatrix: outputMatrix, .skip: skip, .stepBias: stepBias,
        .initialState: initialState, .cumulativeLengths: cumulativeLengths,
      ], SelectiveScanOptions(appliesSoftplus: appliesSoftplus), kernel: kernel)
  }
}
