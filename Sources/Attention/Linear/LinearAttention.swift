import AttentionTensors

/// What `linearAttention` returns.
public struct LinearAttentionResult: Sendable {
  /// [b, t, hv, v] in the dtype of the queries.
  public let output: Tensor
  /// The state after the last token of each sequence, [n, hv, k, v]: float32, or float64 where the
  /// queries are float64. An empty sequence ends in its initial state.
  public let finalState: Tensor
  /// Which kernel ran, and why.
  public let explanation: Explanation
}

/// Linear attention with a decaying matrix state, one a sequence and value head:
///
///     S_t = exp(decay_t) S_{t−1} + k_t v_tᵀ ,   o_t = scale · S_tᵀ q_t
///
/// where S is k × v and the decay multiplies rows of S. Without decay this is
/// [linear attention](https://arxiv.org/abs/2006.16236); with a decay per head, retention; per
/// token, simple GLA or Mamba-2; per channel,
/// [gated linear attention](https://arxiv.org/abs/2312.06635). Other updates than the additive one
/// erase what they replace: ``LinearUpdate`` has their equations.
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
///   - initialState: `[n, hv, k, v]` in any floating-point dtype, n being the batch or the number of
///     packed sequences; nil is zero.
///   - cumulativeLengths: `int32 [n + 1]`, from 0 to t, where n sequences, empty ones allowed, are
///     packed one behind the other into one row of the batch.
///   - kernel: the name of the kernel to run; nil takes the one with the lowest estimate.
/// - Throws: ``AttentionError`` naming the argument that is wrong, or saying why the kernel cannot
///   run.
public func linearAttention(
  queries: Tensor, keys: Tensor, values: Tensor, decay: Tensor? = nil,
  update: LinearUpdate = .additive, scale: Double? = nil,
  normalizesQueriesAndKeys: Bool = false, initialState: Tensor? = nil,
  cumulativeLengths: Tensor? = nil, kernel: String? = nil
) throws -> LinearAttentionResult {
  let inputs =
    [queries, keys, values] + update.tensors + [decay, initialState].compactMap { $0 }
  let needsGradient = inputs.contains(where: \.isTracked)
  var call = try LinearCall(
    queries: queries, keys: keys, values: values, decay: decay, update: update, scale: scale,
    normalizesQueriesAndKeys: normalizesQueriesAndKeys, initialState: initialState,
    cumulativeLengths: cumulativeLengths, needsGradient: needsGradient)
  call.wantsDecayGradient = decay?.isTracked == true
  let verdict = try LinearAttention.verdicts.verdict(on: call.problem, kernel)
  let chosen = try verdict.kernel()
  let outputs = try chosen.outputs(of: call)
  let places = inputs.map { InputPlace(shape: $0.shape, dtype: $0.dtype) }
  let recordedCall = call
  let recorded = Tensor.recording(
    [outputs.output, outputs.finalState], from: inputs, operation: "linearAttention"
  ) { incoming in
    let gradients = try chosen.gradients(
      of: recordedCall, outputGradient: incoming[0]?.detached(),
      finalStateGradient: incoming[1]?.detached()
    )
    let all =
      [gradients.queries, gradients.keys, gradients.values] + gradients.update
      + [
        // Nobody reads that of a decay that is not tracked.
        try gradients.decay ?? decay.map { try .zeros($0.shape, device: $0.device) },
        gradients.initialState,
      ].compactMap { $0 }
    return try zip(all, places).map { try $1.fold($0) }
  }
  return LinearAttentionResult(
    output: recorded[0], finalState: recorded[1], explanation: verdict.explanation)
}

/// The shape and dtype of an input, to which its gradient is brought.
private struct InputPlace: Sendable {
  let shape: Shape
  let dtype: DType

  func fold(_ gradient: Tensor) throws -> Tensor {
    try gradient.folded(to: shape).cast(to: dtype)
  }
}

extension Tensor {
  /// A gradient in the shape of its input: adds what a kernel of linear attention computed apart, for
  /// value heads that share a query head, and for tokens that share a decay.
  package func folded(to shape: Shape) throws -> Tensor {
    if self.shape == shape { return self }
    switch shape.rank {
    case 1: return try sum([0, 1, 3])
    case 3: return try squeezed(3)
    default:
      let group = self.shape[2] / shape[2]
      return try reshaped([shape[0], shape[1], shape[2], group, shape[3]]).sum([3])
    }
  }
}

/// The kernels of ``linearAttention(queries:keys:values:decay:update:scale:normalizesQueriesAndKeys:initialState:cumulativeLengths:kernel:)``
/// and the choice between them.
public enum LinearAttention {
  /// All kernels; of equal estimates the earlier is taken.
  public static let kernels: [any LinearKernel] = [
    AdditiveChunked(), AdditiveSplit(), AdditiveStep(), ErasingChunked(),
    ErasingColumns(slices: 2), ErasingColumns(slices: 4), ErasingStep(), LinearReference(),
    HopperKernel(splits: false), HopperKernel(splits: true), DeviceChunked(erases: false),
    DeviceChunked(erases: true), DeviceStep(),
  ]

  /// The verdict on a call with these arguments, without running it.
  ///
  /// `device` is where the call would run; nil is where the tensors are.
  /// - Throws: ``AttentionError`` as the operator does for wrong arguments.
  public static func explain(
    queries: Tensor, keys: Tensor, values: Tensor, decay: Tensor? = nil,
    update: LinearUpdate = .additive, scale: Double? = nil,
    normalizesQueriesAndKeys: Bool = false, initialState: Tensor? = nil,
    cumulativeLengths: Tensor? = nil, kernel: String? = nil, needsGradient: Bool,
    device: Device? = nil
  ) throws -> Explanation {
    let call = try LinearCall(
      queries: queries.withoutElements(), keys: keys.withoutElements(),
      values: values.withoutElements(), decay: decay?.withoutElements(),
      update: update.mapTensors { try $0.withoutElements() }, scale: scale,
      normalizesQueriesAndKeys: normalizesQueriesAndKeys,
      initialState: initialState?.withoutElements(), cumulativeLengths: cumulativeLengths,
      needsGradient: needsGradient)
    var problem = call.problem
    problem.device = device ?? problem.device
    return try verdicts.verdict(on: problem, kernel).explanation
  }

  static let verdicts = Verdicts<LinearProblem, any LinearKernel>("linearAttention", kernels) {
    $0.asKernel
  }
}
