import AttentionTensors

/// HGRN-2: gated linear attention whose keys are the complements of the forget gates,
///
///     S_t = diag(f_t) S_{t−1} + (1 − f_t) i_tᵀ ,   o_t = scale · S_tᵀ q_t ,   f = e^g
///
/// Reference: Qin, Yang, Sun, Shen, Li, Sun, Zhong,
/// [*HGRN2: Gated linear RNNs with state expansion*](https://arxiv.org/abs/2404.07904) (2024), where q
/// is the output gate and f has a lower bound that rises with the layer.
///
/// - Parameters:
///   - queries: q [b, t, h, k]
///   - logForget: g [b, t, h, k], the natural logarithm of the forget gate, at most 0.
///   - inputs: i [b, t, h, v]
///   - scale: the factor of the queries; nil is 1/√k.
///   - initialState: `[n, h, k, v]`; nil is zero.
///   - cumulativeLengths: `int32 [n + 1]` for packed sequences.
///   - kernel: the name of the kernel to run; nil for the one with the lowest estimate.
/// - Throws: ``AttentionError`` naming the invalid argument.
public func hgrn2(
  queries: Tensor, logForget: Tensor, inputs: Tensor, scale: Double? = nil,
  initialState: Tensor? = nil, cumulativeLengths: Tensor? = nil, kernel: String? = nil
) throws -> LinearAttentionResult {
  let written = try logForget.checked("logForget", queries.shape).widened().exponentialMinusOne()
    .negated()
  return try naming(["values": "inputs", "decay": "logForget"]) {
    try linearAttention(
      queries: queries, keys: written.cast(to: queries.dtype), values: inputs,
      decay: logForget, scale: scale, initialState: initialState,
      cumulativeLengths: cumulativeLengths, kernel: kernel)
  }
}
