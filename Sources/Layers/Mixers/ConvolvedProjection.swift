import AttentionTensors

/// A projection, a short convolution of its result if the layer has them, and a silu.
///
/// Parameters: `NAME_proj`, and `NAME_conv1d` if there is a convolution.
struct ConvolvedProjection: Sendable {
  /// That of the convolution's state.
  let name: String
  let projection: Linear
  let convolution: ShortConvolution?
  let appliesSiLU: Bool

  /// - Parameters:
  ///   - name: the beginning of the parameters' names.
  ///   - inputs: the extent of the input's last axis.
  ///   - outputs: the extent of the output's last axis.
  ///   - convolution: the convolution's options.
  ///   - appliesSiLU: whether the silu is applied.
  ///   - scope: the scope of the mixer.
  init(
    _ name: String, inputs: Int, outputs: Int, convolution: ConvolutionOptions, appliesSiLU: Bool,
    scope: ParameterScope
  ) throws {
    self.name = name + "_conv1d"
    projection = try Linear(inputs: inputs, outputs: outputs, scope: scope[name + "_proj"])
    self.convolution = try convolution.layer(
      channels: outputs, appliesSiLU: appliesSiLU, scope: scope[self.name])
    self.appliesSiLU = appliesSiLU
  }

  /// [batch, length, inputs] → [batch, length, outputs]
  func callAsFunction(_ x: Tensor, _ stream: inout TokenStream) throws -> Tensor {
    try stream.convolved(projection(x), by: convolution, name, appliesSiLU: appliesSiLU)
  }
}
