import AttentionTensors

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
///   - queries: `[b, t, h, k]`
///   - keys: `[b, t, h, k]`
///   - values: `[b, t, h, v]`
///   - decay: g [b, t, h, m], a natural logarithm, at most 0.
///   - writes: s [b, t, h, m], how much each slot takes of a token; nil is 1 − e^g.
///   - scale: multiplies the queries; nil is 1/√k.
///   - initialKeyState: `[n, h, m, k]`; nil is zero.
///   - initialValueState: `[n, h, m, v]`; nil is zero.
///   - cumulativeLengths: `int32 [n + 1]` for packed sequences.
///   - kernel: the name of the kernel to run; nil takes the one with the lowest estimate.
/// - Throws: ``AttentionError`` naming the argument that is wrong.
public func gatedSlotAttention(
  queries: Tensor, keys: Tensor, values: Tensor, decay: Tensor, writes: Tensor? = nil,
  scale: Double? = nil, initialKeyState: Tensor? = nil, initialValueState: Tensor? = nil,
  cumulativeLengths: Tensor? = nil, kernel: String? = nil
) throws -> GatedSlotAttentionResult {
  let slots = try SlotScores(
    queries: queries, keys: keys, writes: writes, decay: decay, scale: scale,
    initialState: initialKeyState, cumulativeLengths: cumulativeLengths, kernel: kernel)
  let scores = try naming(SlotScores.names) { try slots.computed() }
  let result = try naming(GatedSlotAttention.names) {
    try linearAttention(
      queries: scores[0].softmax(), keys: slots.writes, values: values, decay: decay, scale: 1,
      initialState: initialValueState, cumulativeLengths: cumulativeLengths, kernel: kernel)
  }
  return GatedSlotAttentionResult(
    output: result.output, finalKeyState: scores[1], finalValueState: result.finalState,
    explanation: result.explanation)
}

/// The choice of a kernel for ``gatedSlotAttention(queries:keys:values:decay:writes:scale:initialKeyState:initialValueState:cumulativeLengths:kernel:)``.
public enum GatedSlotAttention {
  /// Arguments by the names of the linear attention that reads the values.
  fileprivate static let names = [
    "queries": "writes", "keys": "writes", "initialState": "initialValueState",
  ]

  /// The verdict on the reading of the values in a call with these arguments, without running it.
  ///
  /// `device` is where the call would run; nil is where the tensors are.
  /// - Throws: ``AttentionError`` as the function does for wrong arguments.
  public static func explain(
    queries: Tensor, keys: Tensor, values: Tensor, decay: Tensor, writes: Tensor? = nil,
    scale: Double? = nil, initialKeyState: Tensor? = nil, initialValueState: Tensor? = nil,
    cumulativeLengths: Tensor? = nil, kernel: String? = nil, needsGradient: Bool,
    device: Device? = nil
  ) throws -> Explanation {
    let writes =
      try writes?.withoutElements()
      ?? .placeholder(decay.shape, dtype: queries.dtype, device: queries.device)
    let slots = try SlotScores(
      queries: queries.withoutElements(), keys: keys.withoutElements(), writes: writes,
      decay: decay.withoutElements(), scale: scale,
      initialState: initialKeyState?.withoutElements(), cumulativeLengths: cumulativeLengths,
      kernel: kernel)
    _ = try naming(SlotScores.names) { try slots.attention(reading: slots.writes) }
    return try naming(names) {
      try LinearAttention.explain(
        queries: slots.writes, keys: slots.writes, values: values, decay: decay, scale: 1,
        initialState: initialValueState, cumulativeLengths: cumulativeLengths, kernel: kernel,
        needsGradient: needsGradient, device: device)
    }
  }
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

  /// Arguments by the names of the linear attention whose gradient the scores are.
  static let names = [
    "queries": "writes", "keys": "writes", "values": "keys", "initialState": "initialKeyState",
  ]

  /// - Throws: ``AttentionError/invalidArgument(_:was:mustBe:)`` if queries, keys, decay and writes do
  ///   not go together.
  init(
    queries: Tensor, keys: Tensor, writes: Tensor?, decay: Tensor, scale: Double?,
    initialState: Tensor?, cumulativeLengths: Tensor?, kernel: String?
  ) throws {
    try LinearCall.check(queries, "queries", "[batch, length, heads, key dimension]") {
      $0.rank == 4 && $0.shape[2] > 0 && $0.shape[3] > 0
    }
    try LinearCall.check(dtypeOf: queries, "queries", "a floating-point dtype", \.isFloatingPoint)
    let tokens = Array(queries.shape.dimensions[..<3])
    try LinearCall.check(decay, "decay", "\(tokens) as the queries have, and slots") {
      $0.rank == 4 && Array($0.shape.dimensions[..<3]) == tokens && $0.shape[3] > 0
    }
    try LinearCall.check(dtypeOf: decay, "decay", "a floating-point dtype", \.isFloatingPoint)
    self.init(
      queries: queries, keys: try keys.checked("keys", queries.shape),
      writes: try writes?.checked("writes", decay.shape)
        ?? decay.widened().exponentialMinusOne().negated().cast(to: queries.dtype),
      decay: decay, scale: scale ?? 1 / Double(queries.shape[3]).squareRoot(),
      initialState: initialState, cumulativeLengths: cumulativeLengths, kernel: kernel)
  }

  private init(
    queries: Tensor, keys: Tensor, writes: Tensor, decay: Tensor, scale: Double,
    initialState: Tensor?, cumulativeLengths: Tensor?, kernel: String?
  ) {
    self.queries = queries
    self.keys = keys
    self.writes = writes
    self.decay = decay
    self.scale = scale
    self.initialState = initialState
    self.cumulativeLengths = cumulativeLengths
    self.kernel = kernel
  }

  /// The scores, and the state [n, h, m, k] after the last token.
  func computed() throws -> [Tensor] {
    let (call, linear) = try attention(reading: writes)
    let final = try linear.outputs(of: call).finalState
    let scores = try linear.gradients(
      of: call, outputGradient: queries.detached(), finalStateGradient: nil
    ).queries.cast(to: queries.dtype)
    let inputs = [queries, keys, writes, decay] + [initialState].compactMap { $0 }
    let (own, dtypes) = (detached(), inputs.map(\.dtype))
    return Tensor.recording(
      [scores, final], from: inputs, operation: "gatedSlotAttention"
    ) { incoming in
      try zip(own.gradients(incoming[0], incoming[1]), dtypes).map { try $0.cast(to: $1) }
    }
  }

  private func gradients(_ scores: Tensor?, _ state: Tensor?) throws -> [Tensor] {
    let (call, linear) = try attention(
      reading: scores?.detached()
        ?? .zeros(decay.shape, dtype: queries.dtype, device: queries.device))
    let output = try linear.outputs(of: call).output
    let gradients = try linear.gradients(
      of: call, outputGradient: queries, finalStateGradient: state?.detached())
    return [output, gradients.values, gradients.keys]
      + [gradients.decay, gradients.initialState].compactMap { $0 }
  }

  /// Linear attention of `rows` [b, t, h, m] with the slots' states.
  func attention(reading rows: Tensor) throws -> (LinearCall, any LinearKernel) {
    let call = try LinearCall(
      queries: rows.cast(to: queries.dtype), keys: writes, values: keys, decay: decay,
      update: .additive, scale: scale, normalizesQueriesAndKeys: false,
      initialState: initialState, cumulativeLengths: cumulativeLengths, needsGradient: true)
    return (call, try LinearAttention.verdicts.verdict(on: call.problem, kernel).kernel())
  }

  private func detached() -> SlotScores {
    SlotScores(
      queries: queries.detached(), keys: keys.detached(), writes: writes.detached(),
      decay: decay.detached(), scale: scale, initialState: initialState?.detached(),
      cumulativeLengths: cumulativeLengths, kernel: kernel)
  }
}
