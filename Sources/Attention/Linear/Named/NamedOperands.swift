import AttentionTensors

/// Conversions of arguments before the named functions call
/// ``linearAttention(queries:keys:values:decay:update:scale:normalizesQueriesAndKeys:initialState:cumulativeLengths:kernel:)``.
extension Tensor {
  /// x / √(Σ x² + 10⁻⁶) over the last axis, as the kernels normalise.
  package func unitVectors() throws -> Tensor {
    let width = Double(shape[rank - 1])
    // The root-mean-square norm divides by √(Σ x²/k + ε).
    let weight = try Tensor.full(
      [shape[rank - 1]], 1 / width.squareRoot(), dtype: dtype, device: device)
    return try rmsNorm(weight: weight, epsilon: LinearArguments.normalizationEpsilon / width)
  }

  /// [b, t, h, k] as [b, t, `heads`, k]: each head repeated for every value head that reads it.
  package func repeatedHeads(to heads: Int) throws -> Tensor {
    guard rank == 4, shape[2] > 0, heads % shape[2] == 0, heads != shape[2] else { return self }
    let (batch, length, own, width) = (shape[0], shape[1], shape[2], shape[3])
    return try unsqueezed(3).expanded(to: [batch, length, own, heads / own, width])
      .reshaped([batch, length, heads, width])
  }

  /// In float32, or unchanged in float64.
  func widened() throws -> Tensor { try cast(to: dtype == .float64 ? .float64 : .float32) }

  /// The product with gates of any dtype, computed ``widened()``.
  func gated(by gate: Tensor) throws -> Tensor {
    let wide = try widened()
    return try wide * gate.cast(to: wide.dtype)
  }

  /// - Throws: ``AttentionError/invalidArgument(_:was:mustBe:)`` unless this is a floating-point tensor
  ///   of shape `expected`.
  func checked(_ name: String, _ expected: Shape) throws -> Tensor {
    try Check.tensor(self, name, "\(expected)") { $0.shape == expected }
    try Check.dtype(of: self, name)
    return self
  }
}

/// Runs `body` and renames arguments in its errors to those of the caller: `names` maps from the
/// operator's names.
func naming<R>(_ names: [String: String], _ body: () throws -> R) throws -> R {
  do {
    return try body()
  } catch AttentionError.invalidArgument(let name, let was, let mustBe) {
    let words = name.split(separator: " ").map { names[String($0)] ?? String($0) }
    throw AttentionError.invalidArgument(
      words.joined(separator: " "), was: was, mustBe: mustBe)
  }
}

/// The shapes of tensors with value heads.
struct NamedRows {
  /// The number of value heads.
  let heads: Int
  /// [b, t, hv]
  let tokens: Shape
  /// [b, t, hv, k]
  let keys: Shape
  /// [b, t, hv, v]
  let values: Shape

  /// - Throws: ``AttentionError/invalidArgument(_:was:mustBe:)`` if keys or values have the wrong rank;
  ///   whether they match is checked by the operator.
  init(keys: Tensor, values: Tensor) throws {
    try Check.tensor(keys, "keys", "[batch, length, heads, key dimension]") {
      $0.rank == 4 && $0.shape[2] > 0 && $0.shape[3] > 0
    }
    try Check.tensor(values, "values", "[batch, length, value heads, value dimension]") {
      $0.rank == 4
    }
    for (tensor, name) in [(keys, "keys"), (values, "values")] {
      try Check.dtype(of: tensor, name)
    }
    heads = values.shape[2]
    tokens = [keys.shape[0], keys.shape[1], heads]
    self.keys = [keys.shape[0], keys.shape[1], heads, keys.shape[3]]
    self.values = values.shape
  }
}
