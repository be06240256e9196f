import AttentionOperators
import AttentionTensors

/// Gated DeltaNet: a matrix state per value head, which decays by a gate and replaces a fraction β of what it
/// holds for the token's key.
///
///     S_t = α_t (I − β_t k_t k_tᵀ) S_{t−1} + β_t k_t v_tᵀ ,   o_t = S_tᵀ q_t / √d
///     α = exp(−e^a softplus(W_a x + b)) ,   β = σ(W_b x) ,   q and k of unit length
///     y = Wₒ (RMSNorm(o) ⊙ gate(W_z x)) ,  where the norm is over each head
///
/// Queries, keys and values are projections after a short convolution and a silu. Value heads are at least
/// as many as heads of queries and keys, which groups of them share.
///
/// Parameters: `A_log`, `dt_bias`, and those of the layout (see ``Layout``).
///
/// Reference: Yang, Kautz, Hatamizadeh,
/// [*Gated delta networks: improving Mamba2 with delta rule*](https://arxiv.org/abs/2412.06464) (2024).
public struct GatedDeltaNet: RecurrentMixer, ConfiguredMixer {
  public let hidden: Int
  let options: Options
  let projections: any GatedDeltaProjections
  let decay: StepDecay
  let output: GatedOutput

  public init(hidden: Int, options: Options, outputScale: Double, scope: ParameterScope) throws {
    try options.validate(hidden: hidden)
    let extents = options.extents(hidden: hidden)
    self.hidden = hidden
    self.options = options
    projections = try options.layout.projections(
      hidden: hidden, extents: extents, options: options, scope: scope)
    decay = try StepDecay(heads: extents.valueHeads, scope: scope)
    let isFLA = options.layout == .fla
    let norm = try GatedNorm(
      width: extents.valueDimension, gate: options.gate ?? .swish, epsilon: options.normEpsilon,
      scope: scope[isFLA ? "o_norm" : "norm"])
    output = try GatedOutput(
      width: extents.valueWidth, hidden: hidden, norm: norm, outputScale: outputScale,
      scope: scope[isFLA ? "o_proj" : "out_proj"])
  }

  public func mixed(_ x: Tensor, _ stream: inout TokenStream) throws -> Tensor {
    let rows = try projections.rows(x, &stream)
    var beta = try rows.beta.inGatePrecision().sigmoid()
    if options.allowsNegativeEigenvalues { beta = try beta * 2 }
    let result = try gatedDeltaNet(
      queries: rows.heads.queries, keys: rows.heads.keys, values: rows.heads.values,
      decay: stream.withoutPadding(decay(rows.steps)), beta: stream.withoutPadding(beta),
      initialState: stream.states["state"], cumulativeLengths: stream.cumulativeLengths)
    stream.states["state"] = result.finalState
    return try output(result.output, gate: rows.gate)
  }
}

extension GatedDeltaNet {
  /// How a layer divides its width, and how its parameters are laid out.
  public struct Options: MixerOptions {
    /// Heads of queries and keys.
    public var heads: Int
    /// Heads of values, a multiple of ``heads``; nil for as many.
    public var valueHeads: Int?
    /// The dimension of a query and a key; nil for hidden / heads.
    public var keyDimension: Int?
    /// The dimension of a value; nil for that of a key.
    public var valueDimension: Int?
    public var convolution = ConvolutionOptions()
    /// The output gate; nil for none, which only ``Layout/fla`` can be without.
    public var gate: OutputGate? = .swish
    /// Whether β is from 0 to 2, so that a token can negate what the state holds for its key.
    public var allowsNegativeEigenvalues = false
    public var normEpsilon = 1e-6
    public var layout = Layout.fla

    public init(heads: Int) { self.heads = heads }
    public init() { self.init(heads: 4) }

    public func validate(hidden: Int) throws {
      try extents(hidden: hidden).validate(hidden: hidden, keyDimension: keyDimension)
      try convolution.validate()
      try LayerError.require("normEpsilon", isPositive: normEpsilon)
      guard layout == .fla || gate != nil else {
        throw LayerError.invalidArgument(
          "gate", was: "nil", mustBe: "given in layout \(layout.rawValue)")
      }
    }

    func extents(hidden: Int) -> HeadExtents {
      HeadExtents(
        hidden: hidden, heads: heads, valueHeads: valueHeads, keyDimension: keyDimension,
        valueDimension: valueDimension)
    }
  }
}
