import AttentionTensors

/// The minimal gated recurrent unit, whose gate does not read the state:
///
///     z_t = σ(k_t) ,   h_t = (1 − z_t) ⊙ h_{t−1} + z_t ⊙ h̃_t
///
/// Reference: Feng, Tung, Ahmed, Bengio, Hajimirsadeghi,
/// [Were RNNs all we needed?](https://arxiv.org/abs/2410.01201) (2024), section 3.1. Its log-space
/// variant first makes candidates positive; here they may have any sign.
///
/// - Parameters:
///   - candidates: `h̃`, [b, t, d] in any floating-point dtype.
///   - updateLogits: `k`, [b, t, d].
///   - initialState: `[n, d]`; nil is zero.
///   - cumulativeLengths: `int32 [n + 1]` for packed sequences.
///   - kernel: the kernel of `gatedScan`; nil for the one with the lowest estimate.
/// - Returns: the states h as `output`, in the candidates' dtype.
/// - Throws: ``AttentionError`` naming the invalid argument of `gatedScan`, or `TensorError` if
///   shapes do not match.
public func minGRU(
  candidates: Tensor, updateLogits: Tensor, initialState: Tensor? = nil,
  cumulativeLengths: Tensor? = nil, kernel: String? = nil
) throws -> GatedScanResult {
  let logits = try updateLogits.inGatePrecision()
  let inputs = try logits.sigmoid() * candidates.cast(to: logits.dtype)
  return try gatedScan(
    inputs: inputs.cast(to: candidates.dtype), decay: logits.negated().logSigmoid(),
    initialState: initialState, cumulativeLengths: cumulativeLengths, kernel: kernel)
}

/// The minimal long short-term memory, whose gates do not read the state and sum to 1:
///
///     f = σ(k_f) ,  i = σ(k_i) ,   h_t = f/(f + i) ⊙ h_{t−1} + i/(f + i) ⊙ h̃_t
///
/// Computed with δ = log i − log f: the two gates are σ(−δ) and σ(δ).
///
/// Reference: Feng, Tung, Ahmed, Bengio, Hajimirsadeghi,
/// [Were RNNs all we needed?](https://arxiv.org/abs/2410.01201) (2024), section 3.2. Its log-space
/// variant first makes candidates positive; here they may have any sign.
///
/// - Parameters:
///   - candidates: `h̃`, [b, t, d] in any floating-point dtype.
///   - forgetLogits: `k_f`, [b, t, d].
///   - inputLogits: `k_i`, [b, t, d] in the dtype of the forget logits.
///   - initialState: `[n, d]`; nil is zero.
///   - cumulativeLengths: `int32 [n + 1]` for packed sequences.
///   - kernel: the kernel of `gatedScan`; nil for the one with the lowest estimate.
/// - Returns: the states h as `output`, in the candidates' dtype.
/// - Throws: ``AttentionError`` naming the invalid argument of `gatedScan`, or `TensorError` if
///   shapes do not match.
public func minLSTM(
  candidates: Tensor, forgetLogits: Tensor, inputLogits: Tensor, initialState: Tensor? = nil,
  cumulativeLengths: Tensor? = nil, kernel: String? = nil
) throws -> GatedScanResult {
  let difference =
    try inputLogits.inGatePrecision().logSigmoid()
    - forgetLogits.inGatePrecision().logSigmoid()
  // The two gates of a minimal LSTM, which sum to 1, are those of a minimal GRU.
  return try minGRU(
    candidates: candidates, updateLogits: difference, initialState: initialState,
    cumulativeLengths: cumulativeLengths, kernel: kernel)
}
