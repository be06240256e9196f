import AttentionOperators
import AttentionTensors

/// Gated linear attention: one matrix state per head, whose rows decay by gates that depend on the token.
///
///     S_t = diag(e^{g_t}) S_{t−1} + k_t v_tᵀ ,  o_t = S_tᵀ q_t / √d
///     g = log σ(W₂ W₁ x + b) / divisor
///     y = Wₒ (RMSNorm(o) ⊙ gate(W_g x)) ,  where the norm is over each head
///
/// Parameters: `q_proj`, `k_proj`, `v_proj`, `g_proj`, `decay_proj.0`, `decay_proj.1`, `norm`,
/// `o_proj`.
///
/// Reference: Yang, Wang, Shen, Panda, Kim, *Gated linear attention transformers with
/// hardware-efficient training* (2024).
public struct GatedLinearAttention: TokenMixer {
  /// The function whose result multiplies the normalized output.
  public enum Gate: String, CaseIterable, Sendable, Codable {
    /// x σ(x)
    case swish
    /// σ(x)
    case sigmoid
  }

  /// How a layer divides its width, and how its state decays.
  public struct Options: Hashable, Sendable {
    public var heads: Int
    /// The keys' width over all heads, as a multiple of the hidden size.
    public var keyExpansion = 0.5
    /// The values' width over all heads, as a multiple of the hidden size.
    public var valueExpansion = 1.0
    /// The width between the two projections that make the decay.
    public var decayRank = 16
    /// Log-decays are divided by this: with larger values the state decays more slowly.
    public var decayDivisor = 16.0
    public var gate = Gate.swish
    /// ε of the norm over each head.
    public var normEpsilon = 1e-6

    public init(heads: Int) { self.heads = heads }
  }

  private let hidden: Int
  private let options: Options
  private let query: Linear
  private let key: Linear
  private let value: Linear
  private let gate: Linear
  private let decayDown: Linear
  private let decayUp: Linear
  private let norm: RMSNorm
  private let output: Linear

  /// - Parameters:
  ///   - hidden: the hidden size.
  ///   - options: heads, widths, decay and gate.
  ///   - outputScale: the standard deviation of an output for head outputs of variance 1.
  ///   - scope: where the parameters come from.
  /// - Throws: ``LayerError``.
  public init(
    hidden: Int, options: Options, outputScale: Double = 1, scope: ParameterScope
  ) throws {
    try options.validate(hidden: hidden)
    let keys = try options.keyWidth(hidden: hidden)
    let values = try options.valueWidth(hidden: hidden)
    self.hidden = hidden
    self.options = options
    query = try Linear(inputs: hidden, outputs: keys, scope: scope["q_proj"])
    key = try Linear(inputs: hidden, outputs: keys, scope: scope["k_proj"])
    value = try Linear(inputs: hidden, outputs: values, scope: scope["v_proj"])
    gate = try Linear(inputs: hidden, outputs: values, scope: scope["g_proj"])
    decayDown = try Linear(
      inputs: hidden, outputs: options.decayRank, scope: scope["decay_proj"]["0"])
    decayUp = try Linear(
      inputs: options.decayRank, outputs: keys, hasBias: true, scope: scope["decay_proj"]["1"])
    norm = try RMSNorm(
      width: values / options.heads, epsilon: options.normEpsilon, scope: scope["norm"])
    output = try Linear(
      inputs: values, outputs: hidden, scale: outputScale, scope: scope["o_proj"])
  }

  public func makeCache() -> any MixerCache { RecurrentCache() }

  public func callAsFunction(
    _ x: Tensor, context: TokenContext, cache: inout (any MixerCache)?
  ) throws -> Tensor {
    try validate(x, hidden: hidden, context: context, cache: cache)
    var kept = try cache.asKind(RecurrentCache.self)
    var keys = try key(x)
    var values = try value(x)
    var decay = try decayUp(decayDown(x)).logSigmoid(dividedBy: options.decayDivisor)
    if let mask = try context.paddingMask?.unsqueezed(-1) {
      // Padding writes nothing into the state and does not decay it.
      keys = try keys.zeroed(exceptWhere: mask)
      values = try values.zeroed(exceptWhere: mask)
      decay = try decay.zeroed(exceptWhere: mask)
    }
    let heads = options.heads
    let result = try linearAttention(
      queries: query(x).separatedHeads(heads), keys: keys.separatedHeads(heads),
      values: values.separatedHeads(heads), decay: decay.separatedHeads(heads),
      initialState: kept?.state, cumulativeLengths: context.cumulativeLengths)
    kept?.advance(by: context.length, to: result.finalState)
    cache = kept
    return try output(gated(norm(result.output).joinedHeads(), by: gate(x)))
  }

  private func gated(_ normalized: Tensor, by gate: Tensor) throws -> Tensor {
    switch options.gate {
    case .swish: try .swiglu(gate, normalized)
    case .sigmoid: try normalized * gate.sigmoid()
    }
  }
}

extension Tensor {
  /// These elements where `mask` is true, 0 elsewhere.
  fileprivate func zeroed(exceptWhere mask: Tensor) throws -> Tensor {
    try .select(mask, self, .zeros([], dtype: dtype))
  }
}

extension GatedLinearAttention.Options {
  /// Throws ``LayerError/invalidArgument(_:was:mustBe:)`` naming the option that does not fit a layer
  /// of hidden size `hidden`.
  public func validate(hidden: Int) throws {
    try LayerError.require("hiddenSize", isExtent: hidden)
    try LayerError.require("heads", isExtent: heads)
    _ = try keyWidth(hidden: hidden)
    _ = try valueWidth(hidden: hidden)
    try LayerError.require("decayRank", isExtent: decayRank)
    try LayerError.require("decayDivisor", isPositive: decayDivisor)
    try LayerError.require("normEpsilon", isPositive: normEpsilon)
  }

  /// The keys' width over all heads.
  fileprivate func keyWidth(hidden: Int) throws -> Int {
    try width("keyExpansion", keyExpansion, hidden)
  }

  /// The values' width over all heads.
  fileprivate func valueWidth(hidden: Int) throws -> Int {
    try width("valueExpansion", valueExpansion, hidden)
  }

  private func width(_ name: String, _ ratio: Double, _ hidden: Int) throws -> Int {
    try LayerError.require(name, isPositive: ratio)
    guard let width = Int(exactly: ratio * Double(hidden)), width % heads == 0 else {
      throw LayerError.invalidArgument(
        name, was: "\(ratio)",
        mustBe: "such that times the hidden size, \(hidden), it is a multiple of heads, \(heads)")
    }
    try LayerError.require(name + " times the hidden size", isExtent: width)
    return width
  }
}
