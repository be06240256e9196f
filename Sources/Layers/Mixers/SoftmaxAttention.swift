import AttentionOperators
import AttentionTensors

/// Causal softmax attention with rotary positions, grouped-query heads and an optional window.
///
///     O = softmax(rotate(Q) rotate(K)ᵀ / √d) V ,  y = Wₒ O
///
/// Parameters: `q_proj`, `k_proj`, `v_proj`, `o_proj`.
public struct SoftmaxAttention: TokenMixer {
  private let projections: ExactProjections

  /// - Parameters:
  ///   - hidden: the hidden size.
  ///   - options: heads, window and positions.
  ///   - outputScale: the standard deviation of an output for head outputs of variance 1.
  ///   - scope: where the parameters come from.
  /// - Throws: ``LayerError``.
  public init(
    hidden: Int, options: ExactAttentionOptions, outputScale: Double = 1, scope: ParameterScope
  ) throws {
    projections = try ExactProjections(
      hidden: hidden, options: options, outputScale: outputScale, scope: scope)
  }

  public func makeCache() -> any MixerCache { KeyValueCache(window: projections.window) }

  public func callAsFunction(
    _ x: Tensor, context: TokenContext, cache: inout (any MixerCache)?
  ) throws -> Tensor {
    try projections.attend(
      self, x, similarity: .dotProduct(), context: context, cache: &cache)
  }
}
