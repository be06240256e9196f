import AttentionTensors

/// The real-gated linear recurrent unit of Hawk and Griffin, whose inputs are scaled so that states
/// keep their variance:
///
///     r_t = σ(recurrence_t) ,  i_t = σ(gate_t) ,   log a_t = c r_t ⊙ log σ(Λ)
///     h_t = a_t ⊙ h_{t−1} + √(1 − a_t²) ⊙ (i_t ⊙ x_t)
///
/// 1 − a² is computed from log a, so that it keeps its precision where a is near 1. If the recurrence gate is
/// so small that a = 1, the square root has no gradient: times the gate's derivative it would vanish.
///
/// Reference: De, Smith, Fernando et al.,
/// [Griffin](https://arxiv.org/abs/2402.19427) (2024), section 2.4.
///
/// - Parameters:
///   - inputs: x, [b, t, d] in any floating-point dtype.
///   - recurrenceLogits: `[b, t, d]`: the argument of the sigmoid of the recurrence gate r.
///   - inputLogits: `[b, t, d]`: the argument of the sigmoid of the input gate i.
///   - decayLogits: Λ, [d]: σ(Λ) is the decay of an open recurrence gate at c = 1.
///   - sharpness: c, 8 in the paper.
///   - initialState: `[n, d]`; nil is zero.
///   - cumulativeLengths: `int32 [n + 1]` for packed sequences.
///   - kernel: the kernel of `gatedScan`; nil for the one with the lowest estimate.
/// - Returns: the states h as `output`, in the inputs' dtype.
/// - Throws: ``AttentionError`` naming the invalid argument of `gatedScan`, or `TensorError` if shapes
///   do not match.
public func realGatedLinearRecurrentUnit(
  inputs: Tensor, recurrenceLogits: Tensor, inputLogits: Tensor, decayLogits: Tensor,
  sharpness: Double = 8, initialState: Tensor? = nil, cumulativeLengths: Tensor? = nil,
  kernel: String? = nil
) throws -> GatedScanResult {
  let gate = try recurrenceLogits.inGatePrecision().sigmoid()
  let rate = try (decayLogits.cast(to: gate.dtype).logSigmoid() * sharpness).finite()
  let decay = try gate * rate
  let unitVariance = try decay.complementOfSquare().squareRootOrZero()
  let gated = try inputLogits.cast(to: gate.dtype).sigmoid() * inputs.cast(to: gate.dtype)
  let weighed = try unitVariance * gated
  return try gatedScan(
    inputs: weighed.cast(to: inputs.dtype), decay: decay, initialState: initialState,
    cumulativeLengths: cumulativeLengths, kernel: kernel)
}

extension Tensor {
  /// 1 − a² for a = eˣ.
  fileprivate func complementOfSquare() throws -> Tensor {
    try (self * 2.0).exponentialMinusOne().negated()
  }

  /// √x, whose derivative at 0 is 0.
  fileprivate func squareRootOrZero() throws -> Tensor {
    let zero = try Tensor.zeros([], dtype: dtype)
    let isZero = try isEqual(to: zero)
    return try .select(
      isZero, zero, Tensor.select(isZero, .ones([], dtype: dtype), self).squareRoot())
  }
}
