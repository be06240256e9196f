import AttentionOperators
import AttentionTensors

/// Causal cosine-similarity attention with rotary positions, a learned scale for each head,
/// grouped-query heads and an optional window.
///
///     O = softmax(scale · rotate(q/|q|) · rotate(k/|k|)) V ,  y = Wₒ O
///
/// Parameters: `q_proj`, `k_proj`, `v_proj`, `o_proj`, and `scale` [heads].
public struct CosineAttention: TokenMixer {
  /// The scale of every head before training.
  public static let defaultScale = 8.0
  /// Added to the squared norms of queries and keys.
  private static let normEpsilon = 1e-6

  private let projections: ExactProjections
  private let scale: Tensor

  /// - Parameters:
  ///   - hidden: the hidden size.
  ///   - options: heads, window and positions.
  ///   - initialScale: the scale of every head before training.
  ///   - outputScale: the standard deviation of an output for head outputs of variance 1.
  ///   - scope: where the parameters come from.
  /// - Throws: ``LayerError``.
  public init(
    hidden: Int, options: ExactAttentionOptions, initialScale: Double = defaultScale,
    outputScale: Double = 1, scope: ParameterScope
  ) throws {
    try LayerError.require("scale", isPositive: initialScale)
    projections = try ExactProjections(
      hidden: hidden, options: options, outputScale: outputScale, scope: scope)
    scale = try scope.parameter("scale", [projections.heads], .constant(initialScale))
  }

  public func makeCache() -> any MixerCache { KeyValueCache(window: projections.window) }

  public func callAsFunction(
    _ x: Tensor, context: TokenContext, cache: inout (any MixerCache)?
  ) throws -> Tensor {
    try projections.attend(
      self, x, similarity: .cosine(scale: .perHead(scale), normalizes: false), context: context,
      cache: &cache
    ) { try $0.l2Normalized(epsilon: Self.normEpsilon) }
  }

  public func mixTogether(
    _ x: Tensor, _ sequences: SequenceBatch, caches: inout [(any MixerCache)?]
  ) throws -> Tensor {
    try projections.attendTogether(
      self, x, similarity: .cosine(scale: .perHead(scale), normalizes: false),
      sequences: sequences, caches: &caches
    ) { try $0.l2Normalized(epsilon: Self.normEpsilon) }
  }
}
