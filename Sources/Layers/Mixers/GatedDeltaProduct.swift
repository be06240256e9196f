import AttentionOperators
import AttentionTensors

/// Gated DeltaProduct: n updates of the delta rule per token, after one decay.
///
///     S_{t,0} = α_t S_{t−1} ,   S_{t,j} = S_{t,j−1} + β_{t,j} k_{t,j} (v_{t,j} − S_{t,j−1}ᵀ k_{t,j})ᵀ
///     o_t = S_{t,n}ᵀ q_t / √d ,   y = Wₒ (RMSNorm(o) ⊙ silu(W_g x)) ,  where the norm is over each head
///
/// with α, β, q, k and v as in ``GatedDeltaNet``, and n keys, values and rates per token.
///
/// Parameters: `q_proj`, `k_proj`, `v_proj`, their `q_conv1d`, … unless there are no convolutions, `b_proj`; `a_proj`,
/// `A_log` and `dt_bias` if states decay; `g_proj` unless there is no gate; `o_norm`, `o_proj`, as in
/// flash-linear-attention.
///
/// Reference: Siems, Carstensen, Zela, Hutter, Pontil, Grazzi,
/// [*DeltaProduct: improving state-tracking in linear RNNs via Householder products*](https://arxiv.org/abs/2502.10297)
/// (2025).
public struct GatedDeltaProduct: RecurrentMixer, ConfiguredMixer {
  public let hidden: Int
  private let options: Options
  private let projections: HeadProjections
  private let beta: Linear
  private let steps: Linear?
  private let decay: StepDecay?
  private let gate: Linear?
  private let output: GatedOutput

  public init(hidden: Int, options: Options, outputScale: Double, scope: ParameterScope) throws {
    try options.validate(hidden: hidden)
    let extents = options.extents(hidden: hidden)
    func linear(_ name: String, _ outputs: Int) throws -> Linear {
      try Linear(inputs: hidden, outputs: outputs, scope: scope[name])
    }
    self.hidden = hidden
    self.options = options
    projections = try HeadProjections(
      hidden: hidden, extents: extents, writes: options.updates,
      convolution: options.convolution, appliesSiLU: true, scope: scope)
    beta = try linear("b_proj", options.updates * extents.valueHeads)
    steps = options.hasDecay ? try linear("a_proj", extents.valueHeads) : nil
    decay = options.hasDecay ? try StepDecay(heads: extents.valueHeads, scope: scope) : nil
    gate = options.hasGate ? try linear("g_proj", extents.valueWidth) : nil
    let norm = try GatedNorm(
      width: extents.valueDimension, epsilon: options.normEpsilon, scope: scope["o_norm"])
    output = try GatedOutput(
      width: extents.valueWidth, hidden: hidden, norm: norm, outputScale: outputScale,
      scope: scope["o_proj"])
  }

  public func mixed(_ x: Tensor, _ stream: inout TokenStream) throws -> Tensor {
    let rows = try projections(x, &stream)
    let largest = options.allowsNegativeEigenvalues ? 2.0 : 1
    let rates = try beta(x).inGatePrecision().sigmoid() * largest
    var gates: Tensor?
    if let steps, let decay { gates = try stream.withoutPadding(decay(steps(x))) }
    let result = try gatedDeltaProduct(
      queries: rows.queries, keys: byUpdate(rows.keys), values: byUpdate(rows.values),
      decay: gates,
      beta: stream.withoutPadding(rates).separatedHeads(options.updates),
      initialState: stream.states["state"], cumulativeLengths: stream.cumulativeLengths)
    stream.states["state"] = result.finalState
    return try output(result.output, gate: gate?(x))
  }

  /// [batch, length, updates · heads, dimension] as [batch, length, updates, heads, dimension].
  private func byUpdate(_ x: Tensor) throws -> Tensor {
    try x.reshaped([
      x.shape[0], x.shape[1], options.updates, x.shape[2] / options.updates, x.shape[3],
    ])
  }
}

extension GatedDeltaProduct {
  /// How a layer divides its width.
  public struct Options: MixerOptions {
    /// Heads of queries and keys.
    public var heads: Int
    /// Heads of values, a multiple of ``heads``; nil for as many.
    public var valueHeads: Int?
    /// The dimension of a query and a key; nil for hidden / heads.
    public var keyDimension: Int?
    /// The dimension of a value; nil for that of a key.
    public var valueDimension: Int?
    /// n, the number of updates per token.
    public var updates = 2
    public var convolution = ConvolutionOptions()
    /// Whether states decay.
    public var hasDecay = true
    /// Whether the output has a gate.
    public var hasGate = true
    /// Whether β is from 0 to 2, so that an update can negate what the state holds for its key.
    public var allowsNegativeEigenvalues = true
    public var normEpsilon = 1e-5

    public init(heads: Int) { self.heads = heads }
    public init() { self.init(heads: 4) }

    public func validate(hidden: Int) throws {
      let extents = extents(hidden: hidden)
      try extents.validate(hidden: hidden, keyDimension: keyDimension)
      try LayerError.require("updates", isExtent: updates)
      try LayerError.require(
        "updates", isExtent: updates, times: max(extents.keyWidth, extents.valueWidth))
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
