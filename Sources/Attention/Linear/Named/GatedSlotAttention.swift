import AttentionTensors

/// The results of
/// ``gatedSlotAttention(queries:keys:values:decay:writes:scale:initialKeyState:initialValueState:cumulativeLengths:kernel:)``.
public struct GatedSlotAttentionResult: Sendable {
  /// [b, t, h, v] in the dtype of the queries.
  public let output: Tensor
  /// The keys in the slots after the last token, [n, h, m, k].
  public let finalKeyState: Tensor
  /// The values in the slots after the last token, [n, h, m, v].
  public let finalValueState: Tensor
  /// The kernel that ran, and why.
  public let explanation: Explanation
}

/// Gated slot attention: softmax attention over m slots, each of which decays by its own gate,
///
///     K_t = diag(e^(g_t)) K_{t−1} + s_t k_tᵀ ,   V_t = diag(e^(g_t)) V_{t−1} + s_t v_tᵀ ,
///     o_t = V_tᵀ softmax(scale · K_t q_t) ,   s = 1 − e^g unless given
///
/// These are two additive recurrences with a softmax in between. The first is read along the axis that does
/// not decay: its scores p_t = scale · K_t q_t are the gradient of the queries of linear attention with keys
/// s, values k and an output gradient of q.
///
/// Reference: Zhang, Yang et al.,
/// [*Gated slot attention*](https://arxiv.org/abs/2409.07146) (2024).
///
/// - Parameters:
///   - queries: `[b, t, h, k]`
///   - keys: `[b, t, h, k]`
///   - values: `[b, t, h, v]`
///   - decay: g [b, t, h, m], a natural logarithm, at most 0.
///   - writes: s [b, t, h, m], the weight with which a token is written to each slot; nil is 1 − e^g.
///   - scale: the factor of the queries; nil is 1/√k.
///   - initialKeyState: `[n, h, m, k]`; nil is zero.
///   - initialValueState: `[n, h, m, v]`; nil is zero.
///   - cumulativeLengths: `int32 [n + 1]` for packed sequences.
///   - kernel: the name of the kernel to run; nil for the one with the lowest estimate.
/// - Throws: ``AttentionError`` naming the invalid argument.
public func gatedSlotAttention(
  queries: Tensor, keys: Tensor, values: Tensor, decay: Tensor, writes: Tensor? = nil,
  scale: Double? = nil, initialKeyState: Tensor? = nil, initialValueState: Tensor? = nil,
  cumulativeLengths: Tensor? = nil, kernel: String? = nil
) throws -> GatedSlotAttentionResult {
  try GatedSlotAttention(
    queries: queries, keys: keys, values: values, decay: decay, writes: writes, scale: scale,
    initialKeyState: initialKeyState, initialValueState: initialValueState,
    cumulativeLengths: cumulativeLengths, kernel: kernel
  ).run()
}

/// A call of
/// ``gatedSlotAttention(queries:keys:values:decay:writes:scale:initialKeyState:initialValueState:cumulativeLengths:kernel:)``.
public struct GatedSlotAttention: Sendable {
  private let queries, keys, values, decay: Tensor
  private let given: Tensor?
  private let scale: Double
  private let initialKeyState, initialValueState, cumulativeLengths: Tensor?
  private let kernel: String?

  /// The names of arguments, by those of the linear attention that reads the values.
  private static let names = [
    "queries": "writes", "keys": "writes", "initialState": "initialValueState",
  ]

  /// - Throws: ``AttentionError/invalidArgument(_:was:mustBe:)`` if queries, keys, decay and writes do
  ///   not match.
  public init(
    queries: Tensor, keys: Tensor, values: Tensor, decay: Tensor, writes: Tensor? = nil,
    scale: Double? = nil, initialKeyState: Tensor? = nil, initialValueState: Tensor? = nil,
    cumulativeLengths: Tensor? = nil, kernel: String? = nil
  ) throws {
    try Check.tensor(queries, "queries", "[batch, length, heads, key dimension]") {
      $0.rank == 4 && $0.shape[2] > 0 && $0.shape[3] > 0
    }
    try Check.dtype(of: queries, "queries")
    let tokens = Array(queries.shape.dimensions[..<3])
    try Check.tensor(decay, "decay", "\(tokens) as the queries have, and slots") {
      $0.rank == 4 && Array($0.shape.dimensions[..<3]) == tokens && $0.shape[3] > 0
    }
    try Check.dtype(of: decay, "decay")
    self.queries = queries
    self.keys = try keys.checked("keys", queries.shape)
    self.values = values
    self.decay = decay
    given = try writes?.checked("writes", decay.shape)
    self.scale = scale ?? 1 / Double(queries.shape[3]).squareRoot()
    self.initialKeyState = initialKeyState
    self.initialValueState = initialValueState
    self.cumulativeLengths = cumulativeLengths
    self.kernel = kernel
  }

  /// Computes the call and, where tensors are tracked, records it on the tape.
  public func run() throws -> GatedSlotAttentionResult {
    let writes =
      try given ?? decay.widened().exponentialMinusOne().negated().cast(to: queries.dtype)
    let scores = try naming(SlotScores.names) { try self.scores(of: writes).computed() }
    let result = try naming(Self.names) {
      try reading(scores[0].softmax(), writes).run()
    }
    return GatedSlotAttentionResult(
      output: result.output, finalKeyState: scores[1], finalValueState: result.finalState,
      explanation: result.explanation)
  }

  /// Which kernel reads the values, and why not the others; nothing is computed.
  ///
  /// - Parameters:
  ///   - device: the device to assume; nil for that of the tensors.
  ///   - needsGradient: whether to assume a backward pass.
  public func explanation(on device: Device? = nil, needsGradient: Bool) throws -> Explanation {
    let writes =
      try given?.withoutElements()
      ?? .placeholder(decay.shape, dtype: queries.dtype, device: queries.device)
    _ = try naming(SlotScores.names) { try self.scores(of: writes).attention(reading: writes) }
    return try naming(Self.names) {
      try reading(writes, writes).explanation(on: device, needsGradient: needsGradient)
    }
  }

  private func scores(of writes: Tensor) -> SlotScores {
    SlotScores(
      queries: queries, keys: keys, writes: writes, decay: decay, scale: scale,
      initialState: initialKeyState, cumulativeLengths: cumulativeLengths, kernel: kernel)
  }

  /// The linear attention that reads the values.
  private func reading(_ weights: Tensor, _ writes: Tensor) throws -> OperatorCall<LinearAttention>
  {
    try OperatorCall<LinearAttention>(
      queries: weights, keys: writes, values: values, decay: decay, scale: 1,
      initialState: initialValueState, cumulativeLengths: cumulativeLengths, kernel: kernel)
  }
}

/// The scores p_t = scale · K_t q_t [b, t, h, m] of the slots.
///
/// With o the output of linear attention with queries y, keys s and values k, Σ_t y_t · p_t = Σ_t q_t · o_t.
/// So p is the gradient of y if that of o is q; and with y = dp, the gradient of q is o, and those of the
/// other inputs are linear attention's own.
private struct SlotScores: Sendable {
  let queries, keys, writes, decay: Tensor
  let scale: Double
  let initialState, cumulativeLengths: Tensor?
  let kernel: String?

  /// The names of arguments, by those of the linear attention whose gradient the scores are.
  static let names = [
    "queries": "writes", "keys": "writes", "values": "keys", "initialState": "initialKeyState",
  ]

  /// The scores, and the state [n, h, m, k] after the last token.
  func computed() throws -> [Tensor] {
    let call = try attention(reading: writes)
    let final = try call.forward().finalState
    let scores = try call.backward([:], incoming: [.output: queries.detached()])
      .required(.queries).cast(to: queries.dtype)
    let inputs = [queries, keys, writes, decay] + [initialState].compactMap { $0 }
    let (own, dtypes) = (detached(), inputs.map(\.dtype))
    return Tensor.recording(
      [scores, final], from: inputs, operation: "gatedSlotAttention"
    ) { incoming in
      try zip(own.gradients(incoming[0], incoming[1]), dtypes).map { try $0.cast(to: $1) }
    }
  }

  private func gradients(_ scores: Tensor?, _ state: Tensor?) throws -> [Tensor] {
    let call = try attention(
      reading: scores?.detached()
        ?? .zeros(decay.shape, dtype: queries.dtype, device: queries.device))
    let output = try call.forward().output
    let gradients = try call.backward(
      [:], incoming: [.output: queries, .finalState: state?.detached()])
    return [output]
      + [LinearInput.values, .keys, .decay, .initialState].compactMap { gradients[$0] }
  }

  /// Linear attention of `rows` [b, t, h, m] with the slots' states, of which all gradients are wanted.
  func attention(reading rows: Tensor) throws -> OperatorCall<LinearAttention> {
    try OperatorCall<LinearAttention>(
      queries: rows.cast(to: queries.dtype), keys: writes, values: keys, decay: decay,
      scale: scale, initialState: initialState, cumulativeLengths: cumulativeLengths,
      kernel: kernel, gradients: WantedGradients(areNeeded: true, inputs: LinearInput.allCases))
  }

  private func detached() -> SlotScores {
    SlotScores(
      queries: queries.detached(), keys: keys.detached(), writes: writes.detached(),
      decay: decay.detached(), scale: scale, initialState: initialState?.detached(),
      cumulativeLengths: cumulativeLengths, kernel: kernel)
  }
}
