import AttentionTensors

/// Linear attention with a decaying matrix state, one per sequence and value head:
///
///     S_t = exp(decay_t) S_{t−1} + k_t v_tᵀ ,   o_t = scale · S_tᵀ q_t
///
/// S is k × v, and the decay multiplies rows of S. Without decay this is
/// [linear attention](https://arxiv.org/abs/2006.16236); with a decay per head, retention; per
/// token, simple GLA or Mamba-2; per channel,
/// [gated linear attention](https://arxiv.org/abs/2312.06635). Updates other than the additive one
/// erase what they replace: see ``LinearUpdate``.
///
/// Value head j reads query and key head j ÷ (hv/h). Gradients flow to queries, keys, values, decay,
/// the update's tensors and the initial state, from the output and the final state.
///
/// - Parameters:
///   - queries: `[b, t, h, k]` in float32, bfloat16, float16 or (reference only) float64. Views are
///     read through their strides.
///   - keys: `[b, t, h, k]` in the dtype of the queries.
///   - values: `[b, t, hv, v]` in the dtype of the queries; h divides hv.
///   - decay: the natural logarithm of the decay, at most 0, in any floating-point dtype: [hv],
///     [b, t, hv] or [b, t, hv, k]; nil for none.
///   - update: how a token changes the decayed state.
///   - scale: multiplies the queries; nil is 1/√k.
///   - normalizesQueriesAndKeys: whether each query and key x is replaced by x / √(Σ x² + 10⁻⁶).
///   - initialState: `[n, hv, k, v]` in any floating-point dtype, with n the batch or the number of
///     packed sequences; nil is zero.
///   - cumulativeLengths: `int32 [n + 1]`, from 0 to t, for n sequences, possibly empty, packed into
///     one row of the batch.
///   - kernel: the name of the kernel to run; nil for the one with the lowest estimate.
/// - Throws: ``AttentionError`` naming the invalid argument, or why the kernel cannot run.
public func linearAttention(
  queries: Tensor, keys: Tensor, values: Tensor, decay: Tensor? = nil,
  update: LinearUpdate = .additive, scale: Double? = nil,
  normalizesQueriesAndKeys: Bool = false, initialState: Tensor? = nil,
  cumulativeLengths: Tensor? = nil, kernel: String? = nil
) throws -> LinearAttentionResult {
  try OperatorCall<LinearAttention>(
    queries: queries, keys: keys, values: values, decay: decay, update: update, scale: scale,
    normalizesQueriesAndKeys: normalizesQueriesAndKeys, initialState: initialState,
    cumulativeLengths: cumulativeLengths, kernel: kernel
  ).run()
}

/// What
/// ``linearAttention(queries:keys:values:decay:update:scale:normalizesQueriesAndKeys:initialState:cumulativeLengths:kernel:)``
/// gives: `output` [b, t, hv, v] in the dtype of the queries, `finalState` [n, hv, k, v], and which kernel ran.
public typealias LinearAttentionResult = OperatorResults<LinearAttention>

extension OperatorCall where Op == LinearAttention {
  /// The call that
  /// ``linearAttention(queries:keys:values:decay:update:scale:normalizesQueriesAndKeys:initialState:cumulativeLengths:kernel:)``
  /// runs, with its arguments.
  ///
  /// - Throws: ``AttentionError/invalidArgument(_:was:mustBe:)`` naming the first invalid argument.
  public init(
    queries: Tensor, keys: Tensor, values: Tensor, decay: Tensor? = nil,
    update: LinearUpdate = .additive, scale: Double? = nil,
    normalizesQueriesAndKeys: Bool = false, initialState: Tensor? = nil,
    cumulativeLengths: Tensor? = nil, kernel: String? = nil,
    gradients: WantedGradients<LinearInput>? = nil
  ) throws {
    var inputs: OperatorTensors<LinearInput> = [
      .queries: queries, .keys: keys, .values: values, .decay: decay,
      .initialState: initialState, .cumulativeLengths: cumulativeLengths,
    ]
    for (input, tensor) in zip(update.inputs, update.tensors) { inputs[input] = tensor }
    try self.init(
      inputs, LinearOptions(scale: scale, normalizesQueriesAndKeys: normalizesQueriesAndKeys),
      kernel: kernel, gradients: gradients)
  }
}
