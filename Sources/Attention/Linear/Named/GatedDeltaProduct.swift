import AttentionTensors

/// Gated DeltaProduct: n updates of the delta rule per token, after one decay.
///
///     S_{t,0} = α_t S_{t−1} ,   S_{t,j} = S_{t,j−1} + β_{t,j} k_{t,j} (v_{t,j} − S_{t,j−1}ᵀ k_{t,j})ᵀ
///     S_t = S_{t,n} ,   o_t = scale · S_tᵀ q_t
///
/// so the transition of a token is a product of n Householder-like factors. The updates are computed as n
/// tokens, the first of which has the decay and the last the query.
///
/// Reference: Siems, Carstensen, Zela, Hutter, Pontil, Grazzi,
/// [*DeltaProduct: improving state-tracking in linear RNNs via Householder products*](https://arxiv.org/abs/2502.10297)
/// (2025).
///
/// - Parameters:
///   - queries: `[b, t, h, k]`
///   - keys: `[b, t, n, h, k]`
///   - values: `[b, t, n, hv, v]`
///   - decay: ln α [b, t, hv], at most 0; nil for none.
///   - beta: β [b, t, n, hv], from 0 to 2.
///   - scale: the factor of the queries; nil is 1/√k.
///   - normalizesQueriesAndKeys: whether queries and keys are normalised to unit vectors first.
///   - initialState: `[sequences, hv, k, v]`; nil is zero.
///   - cumulativeLengths: `int32 [sequences + 1]` in tokens, for packed sequences.
///   - kernel: the name of the kernel to run; nil for the one with the lowest estimate.
/// - Throws: ``AttentionError``, as the operator does, and if keys, values and β have different numbers of
///   updates.
public func gatedDeltaProduct(
  queries: Tensor, keys: Tensor, values: Tensor, decay: Tensor? = nil, beta: Tensor,
  scale: Double? = nil, normalizesQueriesAndKeys: Bool = true, initialState: Tensor? = nil,
  cumulativeLengths: Tensor? = nil, kernel: String? = nil
) throws -> LinearAttentionResult {
  try Check.tensor(queries, "queries", "[batch, length, heads, key dimension]") {
    $0.rank == 4
  }
  let (batch, length, heads, width) = (
    queries.shape[0], queries.shape[1], queries.shape[2], queries.shape[3]
  )
  try Check.tensor(
    keys, "keys", "[\(batch), \(length), updates, \(heads), \(width)]"
  ) {
    $0.rank == 5 && $0.shape[2] > 0 && $0.shape == [batch, length, $0.shape[2], heads, width]
  }
  let updates = keys.shape[2]
  try Check.tensor(
    values, "values", "[\(batch), \(length), \(updates), value heads, value dimension]"
  ) {
    $0.rank == 5 && Array($0.shape.dimensions[..<3]) == [batch, length, updates]
  }
  let (valueHeads, valueWidth) = (values.shape[3], values.shape[4])
  let rates = try beta.checked("beta", [batch, length, updates, valueHeads])
  let gates = try decay?.checked("decay", [batch, length, valueHeads])

  /// [b, t, …] with n − 1 zeros inserted before or after each token, [b, t·n, …].
  func spread(_ tensor: Tensor, isLast: Bool) throws -> Tensor {
    let rest = Array(tensor.shape.dimensions[2...])
    let own = try tensor.unsqueezed(2)
    let none = try Tensor.zeros(
      Shape([batch, length, updates - 1] + rest), dtype: tensor.dtype, device: tensor.device)
    let all = updates == 1 ? own : try .concatenated(isLast ? [none, own] : [own, none], 2)
    return try all.reshaped(Shape([batch, length * updates] + rest))
  }
  let steps = length * updates
  let result = try linearAttention(
    queries: spread(queries, isLast: true), keys: keys.reshaped([batch, steps, heads, width]),
    values: values.reshaped([batch, steps, valueHeads, valueWidth]),
    decay: gates.map { try spread($0, isLast: false) },
    update: .delta(beta: rates.reshaped([batch, steps, valueHeads])), scale: scale,
    normalizesQueriesAndKeys: normalizesQueriesAndKeys, initialState: initialState,
    cumulativeLengths: cumulativeLengths.map { try $0.scaled(by: updates) }, kernel: kernel)
  let output = try result.output.reshaped([batch, length, updates, valueHeads, valueWidth])
    .selected(2, updates - 1)
  return LinearAttentionResult(
    output: output, finalState: result.finalState, explanation: result.explanation)
}

extension Tensor {
  /// Cumulative lengths in updates from those in tokens; the operator rejects dtypes other than int32.
  fileprivate func scaled(by updates: Int) throws -> Tensor {
    guard dtype == .int32 else { return self }
    return try Tensor(
      elements(as: Int32.self).map { Int32(clamping: Int($0) * updates) }, shape)
  }
}
