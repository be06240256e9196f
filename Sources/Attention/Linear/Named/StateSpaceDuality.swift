import AttentionTensors

/// Mamba-2's state-space model, whose dual form is linear attention with a decay per head and token: with
/// the step Δ > 0 and the rate A < 0,
///
///     S_t = e^(Δ_t A) S_{t−1} + Δ_t B_t x_tᵀ ,   y_t = S_tᵀ C_t + D x_t
///
/// Reference: Dao, Gu, [*Transformers are SSMs*](https://arxiv.org/abs/2405.21060) (2024).
///
/// - Parameters:
///   - inputs: x [b, t, h, p]
///   - steps: Δ [b, t, h], after softplus and bias.
///   - rates: A [h]
///   - inputWeights: B [b, t, groups, n]; groups divide h.
///   - outputWeights: C [b, t, groups, n]
///   - skip: D [h]; nil for none.
///   - initialState: `[sequences, h, n, p]`; nil is zero.
///   - cumulativeLengths: `int32 [sequences + 1]` for packed sequences.
///   - kernel: the name of the kernel to run; nil for the one with the lowest estimate.
/// - Returns: y [b, t, h, p] and the state [sequences, h, n, p].
/// - Throws: ``AttentionError`` naming the invalid argument.
public func stateSpaceDuality(
  inputs: Tensor, steps: Tensor, rates: Tensor, inputWeights: Tensor, outputWeights: Tensor,
  skip: Tensor? = nil, initialState: Tensor? = nil, cumulativeLengths: Tensor? = nil,
  kernel: String? = nil
) throws -> LinearAttentionResult {
  let names = ["queries": "outputWeights", "keys": "inputWeights", "values": "inputs"]
  let rows = try naming(names) { try NamedRows(keys: inputWeights, values: inputs) }
  let steps = try steps.checked("steps", [inputs.shape[0], inputs.shape[1], rows.heads])
  let rates = try rates.checked("rates", [rows.heads])
  let wide = try steps.widened()
  let skip = try skip?.checked("skip", [rows.heads])
  let result = try naming(names) {
    try linearAttention(
      queries: outputWeights, keys: inputWeights,
      values: inputs.gated(by: steps.unsqueezed(-1)).cast(to: inputs.dtype),
      decay: wide * rates.cast(to: wide.dtype).finite(), scale: 1,
      initialState: initialState, cumulativeLengths: cumulativeLengths, kernel: kernel)
  }
  guard let skip else { return result }
  return LinearAttentionResult(
    output: try result.output
      + inputs.gated(by: skip.unsqueezed(-1)).cast(to: inputs.dtype),
    finalState: result.finalState,
    explanation: result.explanation)
}
