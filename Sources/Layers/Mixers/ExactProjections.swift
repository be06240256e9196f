import AttentionOperators
import AttentionTensors

/// What the exact attention mixers share: projections, rotary positions, window and cache.
struct ExactProjections: Sendable {
  private let hidden: Int
  private let layout: ExactAttentionOptions.Layout
  let window: Int?
  private let query: Linear
  private let key: Linear
  private let value: Linear
  private let output: Linear

  var heads: Int { layout.heads }

  init(
    hidden: Int, options: ExactAttentionOptions, outputScale: Double, scope: ParameterScope
  ) throws {
    layout = try options.layout(hidden: hidden)
    let width = layout.heads * layout.dimension
    let shared = layout.keyValueHeads * layout.dimension
    self.hidden = hidden
    window = options.window
    query = try Linear(inputs: hidden, outputs: width, scope: scope["q_proj"])
    key = try Linear(inputs: hidden, outputs: shared, scope: scope["k_proj"])
    value = try Linear(inputs: hidden, outputs: shared, scope: scope["v_proj"])
    output = try Linear(
      inputs: width, outputs: hidden, scale: outputScale, scope: scope["o_proj"])
  }

  /// Projects, applies `prepare` to queries and keys, rotates them by their positions, and attends.
  func attend(
    _ mixer: some TokenMixer, _ x: Tensor, similarity: Similarity, context: TokenContext,
    cache: inout (any MixerCache)?, prepare: (Tensor) throws -> Tensor = { $0 }
  ) throws -> Tensor {
    try mixer.validate(x, hidden: hidden, context: context, cache: cache)
    func positioned(_ heads: Tensor) throws -> Tensor {
      let prepared = try prepare(heads)
      return try layout.rotary?(prepared, context: context) ?? prepared
    }
    let queries = try positioned(query(x).separatedHeads(layout.heads))
    var keys = try positioned(key(x).separatedHeads(layout.keyValueHeads))
    var values = try value(x).separatedHeads(layout.keyValueHeads)
    var keyMask = context.paddingMask
    var kept = try cache.asKind(KeyValueCache.self)
    if let window = kept?.window, window != self.window {
      throw LayerError.invalidArgument(
        "cache", was: "of window \(window)", mustBe: "from this layer's makeCache()")
    }
    if let visible = try kept?.append(keys: keys, values: values, mask: keyMask) {
      (keys, values, keyMask) = (visible.keys, visible.values, visible.mask)
    }
    // A layer's window counts the query's own token; the operator's does not.
    let mask = AttentionMask(
      isCausal: true, window: window.map { Window(left: $0 - 1, right: 0) }, keyMask: keyMask,
      cumulativeLengths: context.cumulativeLengths)
    let result = try attention(
      queries: queries, keys: keys, values: values, similarity: similarity, mask: mask)
    cache = kept
    return try output(result.output.joinedHeads())
  }
}
