import AttentionTensors

/// The core of a Mamba layer, between its short convolution and its output projection:
///
///     Δ = softplus(step + bias) ,  A = −exp(logStateMatrix)
///     h_t = exp(Δ_t A) ⊙ h_{t−1} + Δ_t x_t B_t ,   y_t = (C_tᵀ h_t + D x_t) ⊙ silu(z_t)
///
/// A rate exp(logStateMatrix) that would overflow is clamped: every step except 0 then clears the state.
///
/// Reference: Gu, Dao, [Mamba](https://arxiv.org/abs/2312.00752) (2023), sections 3.4 and 3.6.
///
/// - Parameters:
///   - inputs: x, [b, t, d] in any floating-point dtype.
///   - gate: z, [b, t, d] in the dtype of the inputs; nil omits its factor.
///   - step: `[b, t, d]`.
///   - stepBias: `[d]`; nil is zero.
///   - logStateMatrix: `[d, s]`.
///   - inputMatrix: B, [b, t, s].
///   - outputMatrix: C, [b, t, s].
///   - skip: D, [d]; nil is zero.
///   - initialState: `[n, d, s]`; nil is zero.
///   - cumulativeLengths: `int32 [n + 1]` for packed sequences.
///   - kernel: the kernel of `selectiveScan`; nil for the one with the lowest estimate.
/// - Returns: y as `output`, in the inputs' dtype, and the final states h.
/// - Throws: ``AttentionError`` naming the invalid argument of `selectiveScan`, or `TensorError` if the
///   gate does not match.
public func mamba(
  inputs: Tensor, gate: Tensor? = nil, step: Tensor, stepBias: Tensor? = nil,
  logStateMatrix: Tensor, inputMatrix: Tensor, outputMatrix: Tensor, skip: Tensor? = nil,
  initialState: Tensor? = nil, cumulativeLengths: Tensor? = nil, kernel: String? = nil
) throws -> SelectiveScanResult {
  let result = try selectiveScan(
    inputs: inputs, step: step,
    stateMatrix: logStateMatrix.inGatePrecision().finiteExponential().negated(),
    inputMatrix: inputMatrix, outputMatrix: outputMatrix, skip: skip, stepBias: stepBias,
    appliesSoftplus: true, initialState: initialState, cumulativeLengths: cumulativeLengths,
    kernel: kernel)
  guard let gate else { return result }
  return SelectiveScanResult(
    output: try .swiglu(gate, result.output), finalState: result.finalState,
    explanation: result.explanation)
}

extension Tensor {
  /// eˣ, with x clamped so that it does not overflow; the gradient of clamped elements is zero.
  fileprivate func finiteExponential() throws -> Tensor {
    let largest: Double = dtype == .float64 ? 709 : 88
    return try clamped(to: ...largest).exponential()
  }
}
