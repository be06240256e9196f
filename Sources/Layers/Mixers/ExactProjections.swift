import AttentionOperators
import AttentionTensors

/// What the exact attention mixers share: projections, norms, rotary positions, window and cache.
struct ExactProjections: Sendable {
  let hidden: Int
  let options: ExactAttentionOptions
  let layout: ExactAttentionOptions.Layout
  /// The projections of queries, keys and values, or the one of all three.
  let inputs: [Linear]
  let queryNorm: Norm?
  let keyNorm: Norm?
  let sinks: Tensor?
  let output: Linear

  var heads: Int { layout.heads }
  var window: Int? { options.window }

  init(
    hidden: Int, options: ExactAttentionOptions, outputScale: Double, scope: ParameterScope
  ) throws {
    let layout = try options.layout(hidden: hidden)
    self.layout = layout
    self.options = options
    self.hidden = hidden
    let widths = Self.widths(layout, options)
    let names = options.isFused ? ["qkv_proj"] : ["q_proj", "k_proj", "v_proj"]
    inputs = try zip(names, options.isFused ? [widths.reduce(0, +)] : widths).map { name, width in
      try Linear(
        inputs: hidden, outputs: width, hasBias: options.hasBias, scope: scope[name])
    }
    func norm(_ name: String, heads: Int) throws -> Norm? {
      try options.queryKeyNorm.map {
        try Norm(
          $0.norm, width: ($0.isOverAllHeads ? heads : 1) * layout.dimension, scope: scope[name])
      }
    }
    queryNorm = try norm("q_norm", heads: layout.heads)
    keyNorm = try norm("k_norm", heads: layout.keyValueHeads)
    sinks = options.hasSinks ? try scope.parameter("sinks", [layout.heads], .zeros) : nil
    output = try Linear(
      inputs: layout.heads * layout.dimension, outputs: hidden, hasBias: options.hasOutputBias,
      scale: outputScale, scope: scope["o_proj"])
  }

  /// The widths of queries, with their gates, of keys and of values.
  private static func widths(
    _ layout: ExactAttentionOptions.Layout, _ options: ExactAttentionOptions
  ) -> [Int] {
    let shared = layout.keyValueHeads * layout.dimension
    return [layout.heads * layout.dimension * (options.hasOutputGate ? 2 : 1), shared, shared]
  }

  /// Projects, applies `prepare` to queries and keys, rotates them by their positions, and attends.
  func attend(
    _ mixer: some TokenMixer, _ x: Tensor, similarity: Similarity, context: TokenContext,
    cache: inout (any MixerCache)?, prepare: (Tensor) throws -> Tensor = { $0 }
  ) throws -> Tensor {
    try mixer.validate(x, hidden: hidden, context: context, cache: cache)
    let heads = try heads(of: x, context, prepare)
    let attended = try attend(heads, similarity, context, &cache)
    return try output(of: attended, gate: heads.gate)
  }

  /// The same for one token of each of several sequences: the projections are one product for all of them, and
  /// each attends to its own keys.
  func attendTogether(
    _ mixer: some TokenMixer, _ x: Tensor, similarity: Similarity, sequences: SequenceBatch,
    caches: inout [(any MixerCache)?], prepare: (Tensor) throws -> Tensor = { $0 }
  ) throws -> Tensor {
    let heads = try heads(of: x, sequences.all, prepare)
    let attended = try sequences.forEach(&caches) { index, context, cache in
      try mixer.validate(x.sliced(0, 0..<1), hidden: hidden, context: context, cache: cache)
      return try attend(heads.ofSequence(index), similarity, context, &cache)
    }
    return try output(of: attended, gate: heads.gate)
  }

  /// Queries, keys and values [batch, length, heads, dimension] of some tokens, and the gate of their output.
  private struct Heads {
    var queries: Tensor
    var keys: Tensor
    var values: Tensor
    var gate: Tensor?

    func ofSequence(_ index: Int) throws -> Heads {
      func own(_ tensor: Tensor) throws -> Tensor { try tensor.sliced(0, index..<index + 1) }
      return Heads(queries: try own(queries), keys: try own(keys), values: try own(values))
    }
  }

  private func heads(
    of x: Tensor, _ context: TokenContext, _ prepare: (Tensor) throws -> Tensor
  ) throws -> Heads {
    func positioned(_ heads: Tensor) throws -> Tensor {
      let prepared = try prepare(heads)
      return try layout.rotary?(prepared, context: context) ?? prepared
    }
    let projected = try project(x)
    return Heads(
      queries: try positioned(normalized(projected.queries, queryNorm, heads: layout.heads)),
      keys: try positioned(normalized(projected.keys, keyNorm, heads: layout.keyValueHeads)),
      values: try projected.values.separatedHeads(layout.keyValueHeads), gate: projected.gate)
  }

  /// [batch, length, heads · dimension]: what the queries read. Adds keys and values to the cache.
  private func attend(
    _ heads: Heads, _ similarity: Similarity, _ context: TokenContext,
    _ cache: inout (any MixerCache)?
  ) throws -> Tensor {
    var (keys, values, keyMask) = (heads.keys, heads.values, context.paddingMask)
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
    let terms = ScoreTerms(
      softcap: options.softcap, alibi: options.hasALiBi ? .standard : nil, sinks: sinks)
    let result = try attention(
      queries: heads.queries, keys: keys, values: values, similarity: similarity, mask: mask,
      terms: terms)
    cache = kept
    return try result.output.joinedHeads()
  }

  private func output(of attended: Tensor, gate: Tensor?) throws -> Tensor {
    guard let gate else { return try output(attended) }
    return try output(attended * gate.sigmoid())
  }

  /// Queries, keys and values [batch, length, heads · dimension], and the gate of the output.
  private func project(_ x: Tensor) throws -> (
    queries: Tensor, keys: Tensor, values: Tensor, gate: Tensor?
  ) {
    let parts =
      try options.isFused
      ? inputs[0](x).split(-1, sizes: Self.widths(layout, options)).map { try $0.contiguous() }
      : inputs.map { try $0(x) }
    guard options.hasOutputGate else { return (parts[0], parts[1], parts[2], nil) }
    let halves = try parts[0].separatedHeads(layout.heads)
      .split(-1, sizes: [layout.dimension, layout.dimension])
    return (
      try halves[0].joinedHeads(), parts[1], parts[2], try halves[1].joinedHeads()
    )
  }

  /// [batch, length, heads · dimension] as [batch, length, heads, dimension], after the norm.
  private func normalized(_ x: Tensor, _ norm: Norm?, heads: Int) throws -> Tensor {
    guard let norm, let options = options.queryKeyNorm else { return try x.separatedHeads(heads) }
    return try options.isOverAllHeads
      ? norm(x).separatedHeads(heads) : norm(x.separatedHeads(heads))
  }
}
