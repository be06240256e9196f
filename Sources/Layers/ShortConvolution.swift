import AttentionOperators
import AttentionTensors

/// A causal depthwise convolution over the last few tokens, followed by a silu: most recurrent mixers
/// apply one before their recurrence.
///
/// Parameters: `weight` [channels, 1, width], and `bias` [channels] if it has one.
public struct ShortConvolution: Sendable {
  /// [channels, 1, width], as depthwise convolutions have it in checkpoints; the last column multiplies the
  /// newest token.
  public let weight: Tensor
  /// [channels]
  public let bias: Tensor?
  public let appliesSiLU: Bool

  /// The widths that the operator has.
  static let widths = 2...4

  /// - Parameters:
  ///   - channels: the extent of the last axis.
  ///   - width: how many tokens an output depends on, from 2 to 4.
  ///   - hasBias: whether there is a bias, which starts at zero.
  ///   - appliesSiLU: whether the activation is applied.
  ///   - scope: where the parameters come from.
  /// - Throws: ``LayerError``.
  public init(
    channels: Int, width: Int = 4, hasBias: Bool = false, appliesSiLU: Bool = true,
    scope: ParameterScope
  ) throws {
    try LayerError.require("channels", isExtent: channels)
    try LayerError.require("width", width, in: Self.widths)
    weight = try scope.parameter("weight", [channels, 1, width], .scaledNormal(inputs: width))
    bias = hasBias ? try scope.parameter("bias", [channels], .zeros) : nil
    self.appliesSiLU = appliesSiLU
  }

  /// Convolves all tokens of `x`. Tokens that `context` marks as padding are zeros, and later calls do not see
  /// them.
  ///
  /// - Parameters:
  ///   - x: `[batch, length, channels]`.
  ///   - context: of the same batch and length.
  ///   - state: the inputs before `x`, [batch, channels, width − 1]; nil before the first token and
  ///     for packed sequences. The call replaces it by the last inputs of `x` that are not padding, one for
  ///     each sequence.
  /// - Throws: ``LayerError``, or what the operator throws.
  public func callAsFunction(_ x: Tensor, context: TokenContext, state: inout Tensor?) throws
    -> Tensor
  {
    try LayerError.require(tokens: x, width: weight.shape[0])
    guard x.shape[0] == context.batch, x.shape[1] == context.length else {
      throw LayerError.invalidArgument(
        "x", was: "\(x.shape)", mustBe: "[\(context.batch), \(context.length), channels]")
    }
    let tokens = try context.padding(x, with: 0)
    let result = try shortConvolution(
      inputs: tokens, weight: weight.squeezed(1), bias: bias,
      appliesSiLU: appliesSiLU,
      initialState: state, cumulativeLengths: context.cumulativeLengths)
    state =
      try context.paddingMask.map { _ in
        try lastInputs(tokens, context, state, dtype: result.finalState.dtype)
      } ?? result.finalState
    return result.output
  }

  /// The state after a call with padding.
  private func lastInputs(
    _ tokens: Tensor, _ context: TokenContext, _ state: Tensor?, dtype: DType
  ) throws -> Tensor {
    let (channels, count) = (weight.shape[0], weight.shape[2] - 1)
    let before =
      try state?.transposed(1, 2)
      ?? .zeros([context.batch, count, channels], dtype: dtype, device: tokens.device)
    let rows = try Tensor.concatenated([before, tokens.cast(to: dtype)], 1)
    return try context.lastTokens(of: rows, count: count).transposed(1, 2).contiguous()
  }

  /// Convolves whole sequences from their start.
  public func callAsFunction(_ x: Tensor, context: TokenContext) throws -> Tensor {
    var state: Tensor?
    return try self(x, context: context, state: &state)
  }
}
