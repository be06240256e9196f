import AttentionLayers
import AttentionTensors

/// A layer of a language model: x + mixer(norm(x)), then x + feed-forward(norm(x)).
struct Block: Sendable {
  private let mixerNorm: RMSNorm
  private let mixer: any TokenMixer
  private let feedForwardNorm: RMSNorm
  private let feedForward: FeedForward

  init(
    _ layer: LayerConfiguration, of configuration: LanguageModelConfiguration,
    scope: ParameterScope
  ) throws {
    let hidden = configuration.hiddenSize
    let epsilon = configuration.normEpsilon
    // Each layer adds twice to the residual stream; scaled so, the sum keeps variance 1 (GPT-2).
    let outputScale = 1 / Double(2 * configuration.layers.count).squareRoot()
    mixerNorm = try RMSNorm(width: hidden, epsilon: epsilon, scope: scope["mixer_norm"])
    mixer = try layer.mixer.makeMixer(
      hidden: hidden, outputScale: outputScale, scope: scope["mixer"])
    feedForwardNorm = try RMSNorm(
      width: hidden, epsilon: epsilon, scope: scope["feed_forward_norm"])
    feedForward = try FeedForward(
      width: hidden, inner: configuration.feedForwardSize, outputScale: outputScale,
      scope: scope["feed_forward"])
  }

  func makeCache() -> any MixerCache { mixer.makeCache() }

  func callAsFunction(
    _ x: Tensor, context: TokenContext, cache: inout (any MixerCache)?
  ) throws -> Tensor {
    let mixed = try x + mixer(mixerNorm(x), context: context, cache: &cache)
    return try mixed + feedForward(feedForwardNorm(mixed))
  }
}
