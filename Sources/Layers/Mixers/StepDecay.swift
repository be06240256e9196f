import AttentionCLibrary
import AttentionOperators
import AttentionTensors

/// The time steps Δ of a state-space model, and the log-decays g at its heads' rates:
///
///     Δ = softplus(x + b) ,   g = −e^a Δ
///
/// Both are computed in float32, or float64 with float64 inputs.
///
/// Parameters: `A_log` a [heads], and `dt_bias` b [heads], or [heads · channels].
///
/// Reference: Gu, Dao, [*Mamba*](https://arxiv.org/abs/2312.00752) (2023), section 3.6 for the first steps.
struct StepDecay: Sendable {
  /// a [heads], or [heads, 1] with channels.
  let logRates: Tensor
  /// b [heads], or [heads, channels].
  let bias: Tensor

  /// The rates e^a are drawn between these.
  private static let rates = 1.0...16
  /// The steps are drawn between these, where softplus(b) is e^b to 5 %.
  private static let steps = 0.001...0.1

  /// - Parameters:
  ///   - heads: the number of rates.
  ///   - channels: the number of steps of a head; nil for one per head, without an axis.
  ///   - rateShape: the shape of `A_log`; nil for [heads].
  ///   - scope: where the parameters come from.
  /// - Throws: ``LayerError``.
  init(
    heads: Int, channels: Int? = nil, rateShape: Shape? = nil, scope: ParameterScope
  ) throws {
    let logRates = try scope.parameter(
      "A_log", rateShape ?? [heads],
      .uniform(from: log(Self.rates.lowerBound), to: log(Self.rates.upperBound))
    ).reshaped([heads])
    let bias = try scope.parameter(
      "dt_bias", [heads * (channels ?? 1)],
      .uniform(from: log(Self.steps.lowerBound), to: log(Self.steps.upperBound)))
    self.logRates = channels == nil ? logRates : try logRates.unsqueezed(-1)
    self.bias = try channels.map { try bias.reshaped([heads, $0]) } ?? bias
  }

  /// Δ of `x`, [..., heads] or [..., heads, channels].
  func steps(_ x: Tensor) throws -> Tensor {
    let logits = try x.inGatePrecision()
    return try (logits + bias.cast(to: logits.dtype)).softplus()
  }

  /// −e^a, [heads] or [heads, 1].
  func rates() throws -> Tensor { try -logRates.inGatePrecision().exponential() }

  /// m σ(e^a (x + b)), which is from m to 0, of `x`, [..., heads] or [..., heads, channels].
  func bounded(_ x: Tensor, by smallest: Double) throws -> Tensor {
    let logits = try x.inGatePrecision()
    return try ((logits + bias.cast(to: logits.dtype)) * -rates()).sigmoid() * smallest
  }

  /// g of `x`, [..., heads] or [..., heads, channels].
  func callAsFunction(_ x: Tensor) throws -> Tensor { try steps(x) * rates() }
}

extension Tensor {
  /// log(1 + eˣ), accurate for large |x|.
  func softplus() throws -> Tensor { try -(-self).logSigmoid() }
}
