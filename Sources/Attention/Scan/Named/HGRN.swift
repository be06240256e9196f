import AttentionTensors

/// The hierarchically gated recurrence, with real gates that have a lower bound per layer:
///
///     λ_t = γ + (1 − γ) ⊙ σ(f_t) ,   h_t = λ_t ⊙ h_{t−1} + (1 − λ_t) ⊙ c_t
///
/// Log λ is computed from 1 − λ = (1 − γ) σ(−f) where λ is near 1, and from the logarithms of its two terms
/// elsewhere, so that it keeps its precision however far the sigmoid is saturated.
///
/// Reference: Qin, Yang, Zhong,
/// [Hierarchically gated recurrent neural network](https://arxiv.org/abs/2311.04823) (2023), with a
/// real state.
///
/// - Parameters:
///   - candidates: c, [b, t, d] in any floating-point dtype.
///   - forgetLogits: f, [b, t, d].
///   - lowerBound: γ, [d], from 0 to 1; nil is 0.
///   - initialState: `[n, d]`; nil is zero.
///   - cumulativeLengths: `int32 [n + 1]` for packed sequences.
///   - kernel: the kernel of `gatedScan`; nil for the one with the lowest estimate.
/// - Returns: the states h as `output`, in the candidates' dtype.
/// - Throws: ``AttentionError`` naming the invalid argument of `gatedScan`, or `TensorError` if shapes
///   do not match.
public func hgrn(
  candidates: Tensor, forgetLogits: Tensor, lowerBound: Tensor? = nil,
  initialState: Tensor? = nil, cumulativeLengths: Tensor? = nil, kernel: String? = nil
) throws -> GatedScanResult {
  let logits = try forgetLogits.inGatePrecision()
  let bound = try lowerBound?.cast(to: logits.dtype)
  let decay = try bound.map(logits.logSigmoid(boundedBy:)) ?? logits.logSigmoid()
  var written = try logits.negated().sigmoid()
  if let bound { written = try written * (bound.negated() + 1.0) }
  let inputs = try written * candidates.cast(to: written.dtype)
  return try gatedScan(
    inputs: inputs.cast(to: candidates.dtype), decay: decay, initialState: initialState,
    cumulativeLengths: cumulativeLengths, kernel: kernel)
}

extension Tensor {
  /// This tensor in float32, or unchanged in float64: a gate rounded to half precision would change
  /// the decay over hundreds of tokens.
  package func inGatePrecision() throws -> Tensor {
    try dtype.isHalfPrecision ? cast(to: .float32) : self
  }

  /// A float32 or float64 tensor with infinities replaced by the largest finite number of their
  /// sign, so that an infinite rate times a gate of 0 is 0, not NaN.
  func finite() throws -> Tensor {
    let largest =
      dtype == .float64 ? Double.greatestFiniteMagnitude : Double(Float.greatestFiniteMagnitude)
    return try clamped(to: -largest...largest)
  }

  /// −x
  func negated() throws -> Tensor { try self * -1.0 }
}
