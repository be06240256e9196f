import AttentionOperators
import AttentionTensors

/// The heads of a mixer, and their dimensions.
struct HeadExtents: Hashable, Sendable {
  /// Heads of queries.
  let heads: Int
  /// Heads of keys, at most as many.
  let keyHeads: Int
  /// Heads of values.
  let valueHeads: Int
  let keyDimension: Int
  let valueDimension: Int

  var queryWidth: Int { heads * keyDimension }
  var keyWidth: Int { keyHeads * keyDimension }
  var valueWidth: Int { valueHeads * valueDimension }
}

extension HeadExtents {
  /// Heads of values that share those of queries and keys.
  ///
  /// - Parameters:
  ///   - hidden: the hidden size.
  ///   - heads: heads of queries and keys.
  ///   - valueHeads: nil for as many.
  ///   - keyDimension: nil for hidden / heads.
  ///   - valueDimension: nil for that of a key.
  init(hidden: Int, heads: Int, valueHeads: Int?, keyDimension: Int?, valueDimension: Int?) {
    let keyDimension = keyDimension ?? hidden / max(1, heads)
    self.init(
      heads: heads, keyHeads: heads, valueHeads: valueHeads ?? heads, keyDimension: keyDimension,
      valueDimension: valueDimension ?? keyDimension)
  }

  /// Throws ``LayerError/invalidArgument(_:was:mustBe:)`` naming the option that does not fit.
  ///
  /// - Parameters:
  ///   - hidden: the hidden size.
  ///   - keyDimension: the option from which the key dimension is, or nil.
  func validate(hidden: Int, keyDimension given: Int?) throws {
    try LayerError.require("hiddenSize", isExtent: hidden)
    try LayerError.require("heads", isExtent: heads)
    if given == nil {
      try LayerError.require("hiddenSize", hidden, isMultipleOf: heads, "heads")
    }
    try LayerError.require("valueHeads", valueHeads, isMultipleOf: heads, "heads")
    try LayerError.require("keyDimension", isExtent: keyDimension, times: valueHeads)
    try LayerError.require("valueDimension", isExtent: valueDimension, times: valueHeads)
  }

  /// Heads whose widths are multiples of the hidden size.
  ///
  /// - Parameters:
  ///   - hidden: the hidden size.
  ///   - heads: heads of queries.
  ///   - keyValueHeads: heads of keys and values, a divisor of `heads`; nil for as many.
  ///   - keyExpansion: the width of the queries over all heads, as a multiple of the hidden size.
  ///   - valueExpansion: that of the values of `heads` heads.
  /// - Throws: ``LayerError/invalidArgument(_:was:mustBe:)`` naming the argument that does not fit.
  init(
    hidden: Int, heads: Int, keyValueHeads: Int? = nil, keyExpansion: Double,
    valueExpansion: Double
  ) throws {
    try LayerError.require("hiddenSize", isExtent: hidden)
    try LayerError.require("heads", isExtent: heads)
    let shared = keyValueHeads ?? heads
    guard shared >= 1, heads % shared == 0 else {
      throw LayerError.invalidArgument(
        "keyValueHeads", was: "\(shared)", mustBe: "a divisor of heads, \(heads)")
    }
    let keys = try LayerError.width("keyExpansion", keyExpansion, of: hidden, heads: heads)
    let values = try LayerError.width("valueExpansion", valueExpansion, of: hidden, heads: heads)
    self.init(
      heads: heads, keyHeads: shared, valueHeads: shared, keyDimension: keys / heads,
      valueDimension: values / heads)
  }
}

/// The projections of queries, keys and values, each with a short convolution if the layer has them.
///
/// Parameters: `q_proj`, `k_proj`, `v_proj`, and `q_conv1d`, `k_conv1d`, `v_conv1d`.
struct HeadProjections: Sendable {
  let extents: HeadExtents
  let query, key, value: ConvolvedProjection

  /// - Parameters:
  ///   - hidden: the hidden size.
  ///   - extents: of the heads.
  ///   - writes: the number of keys and values of a token, side by side in their projections.
  ///   - convolution: the convolutions' options.
  ///   - appliesSiLU: whether queries and keys go through a silu.
  ///   - valuesApplySiLU: whether values do; nil if they do as queries and keys.
  ///   - scope: the scope of the mixer.
  init(
    hidden: Int, extents: HeadExtents, writes: Int = 1, convolution: ConvolutionOptions,
    appliesSiLU: Bool, valuesApplySiLU: Bool? = nil, scope: ParameterScope
  ) throws {
    func projection(_ name: String, _ width: Int, _ appliesSiLU: Bool) throws
      -> ConvolvedProjection
    {
      try ConvolvedProjection(
        name, inputs: hidden, outputs: width, convolution: convolution, appliesSiLU: appliesSiLU,
        scope: scope)
    }
    self.extents = extents
    query = try projection("q", extents.queryWidth, appliesSiLU)
    key = try projection("k", writes * extents.keyWidth, appliesSiLU)
    value = try projection("v", writes * extents.valueWidth, valuesApplySiLU ?? appliesSiLU)
  }

  /// What the projections give.
  struct Rows {
    /// [batch, length, heads, key dimension]
    var queries: Tensor
    /// [batch, length, writes · key heads, key dimension]
    var keys: Tensor
    /// [batch, length, writes · value heads, value dimension]
    var values: Tensor
  }

  func callAsFunction(_ x: Tensor, _ stream: inout TokenStream) throws -> Rows {
    Rows(
      queries: try query(x, &stream).separated(dimension: extents.keyDimension),
      keys: try key(x, &stream).separated(dimension: extents.keyDimension),
      values: try value(x, &stream).separated(dimension: extents.valueDimension))
  }
}

/// The output of a mixer's heads: a norm over each head, a gate, and a projection.
struct GatedOutput: Sendable {
  let norm: GatedNorm
  let projection: Linear

  /// - Parameters:
  ///   - width: the width of all heads.
  ///   - hidden: the hidden size.
  ///   - norm: the norm, of the width of a head or of all.
  ///   - outputScale: the standard deviation of an output for head outputs of variance 1.
  ///   - scope: where the projection comes from.
  init(width: Int, hidden: Int, norm: GatedNorm, outputScale: Double, scope: ParameterScope) throws
  {
    self.norm = norm
    projection = try Linear(inputs: width, outputs: hidden, scale: outputScale, scope: scope)
  }

  /// - Parameters:
  ///   - heads: `[batch, length, heads, dimension]`
  ///   - gate: the gate's argument, [batch, length, heads · dimension]; nil for no gate.
  func callAsFunction(_ heads: Tensor, gate: Tensor?) throws -> Tensor {
    let normalized = try norm(heads, gate: gate?.reshaped(heads.shape))
    return try projection(normalized.joinedHeads())
  }
}

extension Tensor {
  /// [batch, length, heads · dimension] as [batch, length, heads, dimension].
  func separated(dimension: Int) throws -> Tensor { try separatedHeads(shape[2] / dimension) }
}

extension TokenStream {
  /// The decay of every token from one per head, [heads]: the same if there is no padding, else [batch, length,
  /// heads] with 0 for padding.
  func decays(perHead decay: Tensor) throws -> Tensor {
    guard context.paddingMask != nil else { return decay }
    return try withoutPadding(
      decay.expanded(to: [context.batch, context.length, decay.shape[0]]))
  }
}
