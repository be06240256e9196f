import AttentionOperators
import AttentionTensors

/// Causal softmax attention with rotary positions, grouped-query heads and the options of
/// ``ExactAttentionOptions``.
///
///     O = softmax(rotate(norm(Q)) rotate(norm(K))ᵀ / √d) V ,  y = Wₒ (O ⊙ σ(gate))
///
/// Parameters: `q_proj`, `k_proj`, `v_proj`, `o_proj`, and with the options that need them `q_norm`, `k_norm`
/// and `sinks` [heads].
public struct SoftmaxAttention: TokenMixer {
  let projections: ExactProjections
  private let scale: Scale?

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
    scale = options.scale.map { .number($0) }
  }

  public func makeCache() -> any MixerCache { KeyValueCache(window: projections.window) }

  public func callAsFunction(
    _ x: Tensor, context: TokenContext, cache: inout (any MixerCache)?
  ) throws -> Tensor {
    try projections.attend(
      self, x, similarity: .dotProduct(scale: scale), context: context, cache: &cache)
  }

  public func mixTogether(
    _ x: Tensor, _ sequences: SequenceBatch, caches: inout [(any MixerCache)?]
  ) throws -> Tensor {
    try projections.attendTogether(
      self, x, similarity: .dotProduct(scale: scale), sequences: sequences, caches: &caches)
  }
}
