import AttentionOperators
import AttentionTensors

/// Gated DeltaNet-2: the delta rule with separate gates for erasing and writing, one number per channel.
///
///     S_t = (I − k_t (b_t ⊙ k_t)ᵀ) diag(α_t) S_{t−1} + k_t (w_t ⊙ v_t)ᵀ ,   o_t = S_tᵀ q_t / √d
///     α = exp(−e^a softplus(F₂ F₁ x + c)) ,   b = σ(W_b x) ,   w = σ(W_w x) ,   q and k of unit length
///     y = Wₒ (RMSNorm(o) ⊙ σ(G₂ G₁ x)) ,  where the norm is over each head
///
/// Parameters: `q_proj`, `k_proj`, `v_proj`, their `q_conv1d`, … unless there are no convolutions, `f_proj.0`,
/// `f_proj.1`, `A_log` a, `dt_bias` c, `b_proj`, `w_proj`, `g_proj.0`, `g_proj.1`, `o_norm`, `o_proj`, as in
/// flash-linear-attention.
///
/// Reference: Hatamizadeh, Choi, Kautz,
/// [*Gated DeltaNet-2: decoupling erase and write in linear attention*](https://arxiv.org/abs/2605.22791) (2026).
public struct GatedDeltaNet2: RecurrentMixer, ConfiguredMixer {
  public let hidden: Int
  private let options: Options
  private let projections: HeadProjections
  private let decayLogits: LinearChain
  private let decay: StepDecay
  private let erase, write: Linear
  private let gate: LinearChain
  private let output: GatedOutput

  public init(hidden: Int, options: Options, outputScale: Double, scope: ParameterScope) throws {
    try options.validate(hidden: hidden)
    let extents = options.extents(hidden: hidden)
    func lowRank(_ name: String, _ outputs: Int, hasBias: Bool) throws -> LinearChain {
      try LinearChain(
        inputs: hidden, rank: extents.valueDimension, outputs: outputs, hasBias: hasBias,
        scope: scope[name])
    }
    self.hidden = hidden
    self.options = options
    projections = try HeadProjections(
      hidden: hidden, extents: extents, convolution: options.convolution, appliesSiLU: true,
      scope: scope)
    decayLogits = try lowRank("f_proj", extents.keyWidth, hasBias: false)
    decay = try StepDecay(
      heads: extents.keyHeads, channels: extents.keyDimension, scope: scope)
    erase = try Linear(inputs: hidden, outputs: extents.keyWidth, scope: scope["b_proj"])
    write = try Linear(inputs: hidden, outputs: extents.valueWidth, scope: scope["w_proj"])
    gate = try lowRank("g_proj", extents.valueWidth, hasBias: true)
    let norm = try GatedNorm(
      width: extents.valueDimension, gate: .sigmoid, epsilon: options.normEpsilon,
      scope: scope["o_norm"])
    output = try GatedOutput(
      width: extents.valueWidth, hidden: hidden, norm: norm, outputScale: outputScale,
      scope: scope["o_proj"])
  }

  public func mixed(_ x: Tensor, _ stream: inout TokenStream) throws -> Tensor {
    let extents = projections.extents
    let rows = try projections(x, &stream)
    /// A gate of the keys, for every value head.
    func perValueHead(_ gate: Tensor) throws -> Tensor {
      try stream.withoutPadding(gate).repeatedHeads(to: extents.valueHeads)
    }
    let largest = options.allowsNegativeEigenvalues ? 2.0 : 1
    let erased = try erase(x).separated(dimension: extents.keyDimension).sigmoid() * largest
    let written = try write(x).separated(dimension: extents.valueDimension).sigmoid()
    let result = try gatedDeltaNet2(
      queries: rows.queries, keys: rows.keys, values: rows.values,
      decay: perValueHead(decay(decayLogits(x).separated(dimension: extents.keyDimension))),
      eraseGate: perValueHead(erased), writeGate: stream.withoutPadding(written),
      initialState: stream.states["state"], cumulativeLengths: stream.cumulativeLengths)
    stream.states["state"] = result.finalState
    return try output(result.output, gate: gate(x))
  }
}

extension GatedDeltaNet2 {
  /// How a layer divides its width.
  public struct Options: MixerOptions {
    /// Heads of queries and keys.
    public var heads: Int
    /// Heads of values, a multiple of ``heads``; nil for as many.
    public var valueHeads: Int?
    /// The dimension of a query and a key; nil for hidden / heads.
    public var keyDimension: Int?
    /// The dimension of a value, and the rank of the low-rank projections; nil for that of a key.
    public var valueDimension: Int?
    public var convolution = ConvolutionOptions()
    /// Whether b is from 0 to 2, so that a token can negate what the state holds for its key.
    public var allowsNegativeEigenvalues = false
    public var normEpsilon = 1e-5

    public init(heads: Int) { self.heads = heads }
    public init() { self.init(heads: 4) }

    public func validate(hidden: Int) throws {
      try extents(hidden: hidden).validate(hidden: hidden, keyDimension: keyDimension)
      try convolution.validate()
      try LayerError.require("normEpsilon", isPositive: normEpsilon)
    }

    func extents(hidden: Int) -> HeadExtents {
      HeadExtents(
        hidden: hidden, heads: heads, valueHeads: valueHeads, keyDimension: keyDimension,
        valueDimension: valueDimension)
    }
  }
}
