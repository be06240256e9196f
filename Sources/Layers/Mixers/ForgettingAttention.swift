import AttentionOperators
import AttentionTensors

/// Forgetting attention: softmax attention whose logits fall by gates of the tokens in between.
///
///     O = softmax(Q Kᵀ / √d + c_i − c_j) V ,   c_t = Σ_{s ≤ t} log σ(W_f x_s + b) ,   y = Wₒ (O ⊙ σ(W_g x))
///
/// There are no positions besides. With norms, queries and keys are normalised over each head.
///
/// Parameters: `q_proj`, `k_proj`, `v_proj`, `f_proj`, `q_norm` and `k_norm` if there are norms, `g_proj` if there is a
/// gate, `o_proj`, as in flash-linear-attention.
///
/// Reference: Lin, Nikishin, He, Courville,
/// [*Forgetting Transformer*](https://arxiv.org/abs/2503.02130) (2025).
public struct ForgettingAttention: TokenMixer, ConfiguredMixer {
  private let hidden: Int
  private let options: Options
  private let query, key, value, forget: Linear
  private let queryNorm, keyNorm: GatedNorm?
  private let gate: Linear?
  private let output: Linear

  public init(hidden: Int, options: Options, outputScale: Double, scope: ParameterScope) throws {
    try options.validate(hidden: hidden)
    let shared = (options.keyValueHeads ?? options.heads) * hidden / options.heads
    func linear(_ name: String, _ outputs: Int, hasBias: Bool = false) throws -> Linear {
      try Linear(inputs: hidden, outputs: outputs, hasBias: hasBias, scope: scope[name])
    }
    func norm(_ name: String, _ width: Int) throws -> GatedNorm? {
      guard options.normalizesQueriesAndKeys else { return nil }
      return try GatedNorm(
        width: width, groups: width * options.heads / hidden, epsilon: options.normEpsilon,
        scope: scope[name])
    }
    self.hidden = hidden
    self.options = options
    query = try linear("q_proj", hidden, hasBias: options.hasBias)
    key = try linear("k_proj", shared, hasBias: options.hasBias)
    value = try linear("v_proj", shared, hasBias: options.hasBias)
    forget = try linear("f_proj", options.heads, hasBias: true)
    queryNorm = try norm("q_norm", hidden)
    keyNorm = try norm("k_norm", shared)
    gate = options.hasGate ? try linear("g_proj", hidden) : nil
    output = try Linear(
      inputs: hidden, outputs: hidden, scale: outputScale, scope: scope["o_proj"])
  }

  public func makeCache() -> any MixerCache { Cache(window: options.window) }

  public func callAsFunction(
    _ x: Tensor, context: TokenContext, cache: inout (any MixerCache)?
  ) throws -> Tensor {
    try validate(x, hidden: hidden, context: context, cache: cache)
    let dimension = hidden / options.heads
    let projected = try query(x)
    let queries = try (queryNorm?(projected) ?? projected).separated(dimension: dimension)
    let projectedKeys = try key(x)
    var keys = try (keyNorm?(projectedKeys) ?? projectedKeys).separated(dimension: dimension)
    var values = try value(x).separated(dimension: dimension)
    let gates = try context.padding(forget(x).inGatePrecision().logSigmoid(), with: 0)
    var keyMask = context.paddingMask
    var terms = ScoreTerms(logitDecay: gates)
    var kept = try cache.asKind(Cache.self)
    if let visible = try kept?.append(keys: keys, values: values, gates: gates, mask: keyMask) {
      (keys, values, keyMask) = (visible.rows.keys, visible.rows.values, visible.rows.mask)
      terms = ScoreTerms(bias: try Self.bias(visible.gates, queries: context.length))
    }
    let mask = AttentionMask(
      isCausal: true, window: options.window.map { Window(left: $0 - 1, right: 0) },
      keyMask: keyMask, cumulativeLengths: context.cumulativeLengths)
    let result = try attention(
      queries: queries, keys: keys, values: values, mask: mask, terms: terms)
    cache = kept
    let mixed = try result.output.joinedHeads()
    return try output(gate.map { try OutputGate.sigmoid(mixed, $0(x)) } ?? mixed)
  }

  /// c_i − c_j of the last tokens and all, [batch, heads, queries, keys], from gates [batch, keys, heads].
  private static func bias(_ gates: Tensor, queries: Int) throws -> Tensor {
    let count = gates.shape[1]
    let sums = try gates.cumulativeSum(1).transposed(1, 2)
    return try sums.sliced(2, count - queries..<count).unsqueezed(3) - sums.unsqueezed(2)
  }
}

extension ForgettingAttention {
  /// How a layer divides its width, and which tokens its queries attend to.
  public struct Options: MixerOptions {
    public var heads: Int
    /// Query heads share key/value heads in groups of heads / keyValueHeads; nil for as many as heads.
    public var keyValueHeads: Int?
    /// Whether the projections of queries, keys and values have biases.
    public var hasBias = false
    /// Whether queries and keys are normalised over each head.
    public var normalizesQueriesAndKeys = false
    /// How many tokens a token attends to, itself included; nil for all before it.
    public var window: Int?
    /// Whether the output has a gate.
    public var hasGate = false
    public var normEpsilon = 1e-5

    public init(heads: Int) { self.heads = heads }
    public init() { self.init(heads: 4) }

    public func validate(hidden: Int) throws {
      _ = try HeadExtents(
        hidden: hidden, heads: heads, keyValueHeads: keyValueHeads, keyExpansion: 1,
        valueExpansion: 1)
      if let window { try LayerError.require("window", window, atLeast: 1) }
      try LayerError.require("normEpsilon", isPositive: normEpsilon)
    }
  }

  /// Keys and values, and the gate of each of their tokens.
  struct Cache: StorableMixerCache {
    private var rows: KeyValueCache
    private var gates: GrowableRows?

    init(window: Int?) { rows = KeyValueCache(window: window) }

    var tokenCount: Int { rows.tokenCount }
    var byteCount: Int { rows.byteCount + (gates?.byteCount ?? 0) }

    private static let gatesName = "gates"

    func contents() throws -> CacheContents {
      var contents = try rows.contents()
      contents.tensors[Self.gatesName] = try gates?.tensor()
      return contents
    }

    func restored(from contents: CacheContents) throws -> Cache {
      var ofRows = contents
      let newGates = ofRows.tensors.removeValue(forKey: Self.gatesName)
      var restored = self
      restored.rows = try rows.restored(from: ofRows)
      guard let newGates, let own = try gates?.tensor(), let count = restored.rows.keys?.count
      else {
        throw LayerError.invalidArgument(
          "contents", was: "without gates", mustBe: "those of a cache that has read a token")
      }
      let ownGates = CacheContents(tokenCount: count, tensors: [Self.gatesName: newGates])
      var rows = try GrowableRows(
        batch: own.shape[0], rowShape: Shape([own.shape[2]]), dtype: own.dtype, device: own.device)
      try rows.append(ownGates.tensor(Self.gatesName, rows: count, like: own))
      restored.gates = rows
      return restored
    }

    /// What the queries of a call may attend to.
    struct Visible {
      let rows: KeyValueCache.Visible
      /// Log-gates, [batch, kept + length, heads].
      let gates: Tensor
    }

    /// Appends the tokens of a call; the cache is unchanged if it throws.
    mutating func append(keys: Tensor, values: Tensor, gates: Tensor, mask: Tensor?) throws
      -> Visible
    {
      var nextRows = rows
      var nextGates =
        try self.gates
        ?? GrowableRows(
          batch: gates.shape[0], rowShape: [gates.shape[2]], dtype: gates.dtype,
          device: gates.device)
      let visible = try nextRows.append(keys: keys, values: values, mask: mask)
      try nextGates.append(gates)
      let all = try nextGates.tensor()
      if let window = rows.window { try nextGates.removeFirst(nextGates.count - (window - 1)) }
      (rows, self.gates) = (nextRows, nextGates)
      return Visible(rows: visible, gates: all)
    }
  }
}
