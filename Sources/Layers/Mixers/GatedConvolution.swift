import AttentionTensors

/// A gated short convolution: each token sees the last few.
///
///     [b, c, u] = W x ,   y = Wₒ (c ⊙ conv(b ⊙ u))
///
/// Parameters: `in_proj`, `conv`, `out_proj`, as in LFM2.
///
/// Reference: Liquid AI, [*LFM2 technical report*](https://arxiv.org/abs/2511.23404) (2025).
public struct GatedConvolution: RecurrentMixer, ConfiguredMixer {
  public let hidden: Int
  private let input, output: Linear
  private let convolution: ShortConvolution

  public init(hidden: Int, options: Options, outputScale: Double, scope: ParameterScope) throws {
    try options.validate(hidden: hidden)
    self.hidden = hidden
    input = try Linear(
      inputs: hidden, outputs: 3 * hidden, hasBias: options.hasBias, scope: scope["in_proj"])
    convolution = try ShortConvolution(
      channels: hidden, width: options.width, hasBias: options.hasBias, appliesSiLU: false,
      scope: scope["conv"])
    output = try Linear(
      inputs: hidden, outputs: hidden, hasBias: options.hasBias, scale: outputScale,
      scope: scope["out_proj"])
  }

  public func mixed(_ x: Tensor, _ stream: inout TokenStream) throws -> Tensor {
    let parts = try input(x).split(-1, sizes: [hidden, hidden, hidden])
    let convolved = try stream.convolved(
      parts[0] * parts[2], by: convolution, "conv", appliesSiLU: false)
    return try output(parts[1] * convolved)
  }
}

extension GatedConvolution {
  public struct Options: MixerOptions {
    /// How many tokens an output depends on, from 2 to 4.
    public var width = 3
    /// Whether the projections and the convolution have biases.
    public var hasBias = false

    public init() {}

    public func validate(hidden: Int) throws {
      try LayerError.require("hiddenSize", isExtent: hidden)
      try LayerError.require("width", width, in: ShortConvolution.widths)
    }
  }
}
