import Tensors

/// What ``gatedSlotAttention(queries:keys:values:decay:writes:scale:initialKeyState:initialValueState:cumulativeLengths:kernel:)``
/// returns.
public struct GatedSlotAttentionResult: Sendable {
  /// [b, t, h, v] in the dtype of the queries.
  public let output: Tensor
  /// The keys in the slots after the last token, [n, h, m, k].
  public let finalKeyState: Tensor
  /// The values in the slots after the last token, [n, h, m, v].
  public let finalValueState: Tensor
  /// Which kernel ran, and why.
  public let explanation: Explanation
}

/// Gated slot attention: softmax attention over m slots, each of which forgets by a gate of its own,
///
///     K_t = diag(e^(g_t)) K_{t−1} + s_t k_tᵀ ,   V_t = diag(e^(g_t)) V_{t−1} + s_t v_tᵀ ,
///     o_t = V_tᵀ softmax(scale · K_t q_t) ,   s = 1 − e^g unless given
///
/// Two additive recurrences with the softmax between them. The first is read along the axis that does
/// not decay: its scores p_t = scale · K_t q_t are to linear attention with the keys s and the values k
/// what the gradient of its queries is, where the gradient of its output is q.
///
/// Reference: Zhang, Yang et al.,
/// [*Gated slot attention*](https://arxiv.org/abs/2409.07146) (2024).
///
/// - Parameters:
///   - queries: [b, t, h, k]
///   - keys: [b, t, h, k]
///   - values: [b, t, h, v]
///   - decay: g [b, t, h, m], a natural logarithm, at most 0.
///   - writes: s [b, t, h, m], how much each slot takes of a token; nil is 1 − e^g.
///   - scale: multiplies the queries; nil is 1/√k.
///   - initialKeyState: [n, h, m, k]; nil is zero.
///   - initialValueState: [n, h, m, v]; nil is zero.
///   - cumulativeLengths: int32 [n + 1] for packed sequences.
///   - kernel: the name of the kernel to run; nil takes the one with the lowest estimate.
/// - Throws: ``AttentionError`` naming the argument that is wrong.
public func gatedSlotAttention(
  queries: Tensor, keys: Tensor, values: Tensor, decay: Tensor, writes: Tensor? = nil,
  scale: Double? = nil, initialKeyState: Tensor? = nil, initialValueState: Tensor? = nil,
  cumulativeLengths: Tensor? = nil, kernel: String? = nil
) throws -> GatedSlotAttentionResult {
  let rows = try NamedRows(keys: queries, values: decay)
  let keys = try keys.checked("keys", queries.shape)
  guard decay.shape == [rows.tokens[0], rows.tokens[1], queries.shape[2], decay.shape[3]] else {
    throw AttentionError.invalidArgument(
      "decay", was: "\(decay.shape)", mustBe: "the queries' first three axes, and slots")
  }
  let writes =
    try writes?.checked("writes", decay.shape)
    ?? (-decay.widened().exponential() + 1).cast(to: queries.dtype)
  let scores = try SlotScores(
    queries: queries, keys: keys, writes: writes, decay: decay,
    scale: scale ?? 1 / Double(queries.shape[3]).squareRoot(), initialState: initialKeyState,
    cumulativeLengths: cumulativeLengths, kernel: kernel
  ).computed()
  let result = try linearAttention(
    queries: scores[0].softmax(), keys: writes, values: values, decay: decay, scale: 1,
    initialState: initialValueState, cumulativeLengths: cumulativeLengths, kernel: kernel)
  return GatedSlotAttentionResult(
    output: result.output, finalKeyState: scores[1], finalValueState: result.finalState,
    explanation: result.explanation)
}

/// The scores p_t = scale · K_t q_t [b, t, h, m] of the slots.
///
/// With o the output of linear attention where y are the queries, s the keys and k the values,
/// Σ_t y_t · p_t = Σ_t q_t · o_t. So p is the gradient of y where that of o is q, and for y = dp the
/// gradient of q is o and those of all others are linear attention's own.
private struct SlotScores: Sendable {
  let queries, keys, writes, decay: Tensor
  let scale: Double
  let initialState, cumulativeLengths: Tensor?
  let kernel: String?

  /// The scores, and the state [n, h, m, k] after the last token.
  func computed() throws -> [Tensor] {
    let (call, linear) = try attention(reading: writes)
    let final = try linear.forward(call).finalState
    let scores = try linear.backward(
      call, outputGradient: queries.detached(), finalStateGradient: nil
    ).queries.cast(to: queries.dtype)
    let inputs = [queries, keys, writes, decay] + [initialState].compactMap { $0 }
    let (own, dtypes) = (detached(), inputs.map(\.dtype))
    return Tensor.recording([scores, final], from: inputs) { incoming in
      try zip(own.gradients(incoming[0], incoming[1]), dtypes).map { try $0.cast(to: $1) }
    }
  }

  private func gradients(_ scores: Tensor?, _ state: Tensor?) throws -> [Tensor] {
    let (call, linear) = try attention(
      reading: scores?.detached() ?? .zeros(decay.shape, dtype: queries.dtype))
    let output = try linear.forward(call).output
    let gradients = try linear.backward(
      call, outputGradient: queries, finalStateGradient: state?.detached())
    return [output, gradients.values, gradients.keys]
      + [gradients.decay, gradients.initialState].compactMap { $0 }
  }

  /// Linear attention of `rows` [b, t, h, m] with the slots' states.
  private func attention(reading rows: Tensor) throws -> (LinearCall, any LinearKernel) {
    let call = try LinearCall(
      queries: rows.cast(to: queries.dtype), keys: writes, values: keys, decay: decay,
      update: .additive, scale: scale, normalizesQueriesAndKeys: false,
      initialState: initialState, cumulativeLengths: cumulativeLengths, needsGradient: true)
    let explanation = try LinearAttention.explain(call, kernel)
    return (call, try explanation.choice(from: LinearAttention.kernels, name: { $0.name }))
  }

  private func detached() -> SlotScores {
    SlotScores(
      queries: queries.detached(), keys: keys.detached(), writes: writes.detached(),
      decay: decay.detached(), scale: scale, initialState: initialState?.detached(),
      cumulativeLengths: cumulativeLengths, kernel: kernel)
  }
}
