import AttentionTensors

extension TokenStream {
  /// The token before each of `x`, [batch, length, hidden], which has zeros for padding; zeros before the first of
  /// a sequence.
  ///
  /// The last token is kept among the states.
  mutating func previousTokens(of x: Tensor) throws -> Tensor {
    let (batch, length, hidden) = (x.shape[0], x.shape[1], x.shape[2])
    let zero = try Tensor.zeros([], dtype: x.dtype)
    let before =
      try states["token"]
      ?? .zeros([batch, 1, hidden], dtype: x.dtype, device: x.device)
    let all = try Tensor.concatenated([before, x], 1)
    states["token"] = try context.lastTokens(of: all, count: 1)
    let previous = try all.sliced(1, 0..<length)
    guard cumulativeLengths != nil else { return previous }
    let positions = try context.positions.cast(to: .float32).reshaped([batch, length, 1])
    return try .select(positions.isGreater(than: .zeros([])), previous, zero)
  }
}

/// y = W₂ f(W₁ x) + b, the low-rank projections of RWKV.
///
/// Parameters: `lora.0.weight`, `lora.2.weight`, and `lora.2.bias` if it has one.
struct LowRankAdapter: Sendable {
  /// f
  enum Activation { case identity, tanh, sigmoid }

  /// W₁, which starts at zero, and W₂.
  private let first, second: Tensor
  private let bias: Tensor?
  private let activation: Activation

  /// - Parameters:
  ///   - inputs: the extent of the input's last axis.
  ///   - rank: the extent between the projections.
  ///   - outputs: the extent of the output's last axis.
  ///   - bias: the initial bias, of one or `outputs` elements; nil for none.
  ///   - activation: f
  ///   - scope: where the parameters come from.
  init(
    inputs: Int, rank: Int, outputs: Int, bias: Initializer?, activation: Activation,
    scope: ParameterScope
  ) throws {
    let smallScale = 0.1
    let scope = scope["lora"]
    first = try scope["0"].parameter("weight", [rank, inputs], .zeros)
    second = try scope["2"].parameter(
      "weight", [outputs, rank], .scaledNormal(inputs: rank, scale: smallScale))
    self.bias = try bias.map { try scope["2"].parameter("bias", [outputs], $0) }
    self.activation = activation
  }

  func callAsFunction(_ x: Tensor) throws -> Tensor {
    var inner = try x.multiplied(byRowsOf: first)
    switch activation {
    case .identity: break
    case .tanh: inner = try inner.tanh()
    case .sigmoid: inner = try inner.sigmoid()
    }
    let product = try inner.multiplied(byRowsOf: second)
    return if let bias { try product + bias } else { product }
  }
}
