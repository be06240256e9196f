import AttentionOperators
import AttentionTensors

/// RWKV-6's time mixing: a matrix state per head with a decay per channel, and a bonus for the token's own pair.
///
///     o_t = (S_{t−1} + diag(u) k_t v_tᵀ)ᵀ r_t ,   S_t = diag(exp(−e^(w_t))) S_{t−1} + k_t v_tᵀ
///     x^□ = x + m_□ ⊙ (x₋ − x) for □ of r, w, k, v, g ,  with the token before x as x₋
///     m = B tanh(A (x + μ ⊙ (x₋ − x))) + b ,   w = lora(x^w) ,   y = Wₒ (GroupNorm(o) ⊙ gate(W_g x^g))
///
/// and r, k and v projections of theirs.
///
/// Parameters: `x_proj.0.mu` μ, `x_proj.0.linear` A, `x_proj.2` B, `x_bias` b, `r_proj.linear`, `k_proj.linear`,
/// `v_proj.linear`, `g_proj.linear`, `w_proj.linear`, `bonus` u, `g_norm`, `o_proj`, as in flash-linear-attention.
///
/// Reference: Peng et al., [*Eagle and Finch*](https://arxiv.org/abs/2404.05892) (2024).
public struct RWKV6: RecurrentMixer, ConfiguredMixer {
  public let hidden: Int
  private let options: Options
  /// μ [hidden]
  private let shift: Tensor
  private let shiftDown: Linear
  /// B [hidden, 5 · rank]
  private let shiftUp: Tensor
  /// b [5, hidden]
  private let shiftBias: Tensor
  private let receptance, key, value, gate: Linear
  private let decay: LowRankAdapter
  /// u [heads, key dimension]
  private let bonus: Tensor
  private let norm: GroupNorm
  private let output: Linear

  /// r, w, k, v and g.
  private static let inputs = 5

  public init(hidden: Int, options: Options, outputScale: Double, scope: ParameterScope) throws {
    try options.validate(hidden: hidden)
    let extents = try options.extents(hidden: hidden)
    func linear(_ name: String, _ outputs: Int) throws -> Linear {
      try Linear(inputs: hidden, outputs: outputs, scope: scope[name]["linear"])
    }
    let ranks = Self.inputs * options.shiftRank
    self.hidden = hidden
    self.options = options
    shift = try scope["x_proj"]["0"].parameter("mu", [hidden], .zeros)
    shiftDown = try Linear(
      inputs: hidden, outputs: ranks, scope: scope["x_proj"]["0"]["linear"])
    shiftUp = try scope["x_proj"]["2"].parameter(
      "weight", [hidden, ranks], .scaledNormal(inputs: options.shiftRank))
    shiftBias = try scope.parameter("x_bias", [Self.inputs, hidden], .zeros)
    receptance = try linear("r_proj", extents.keyWidth)
    decay = try LowRankAdapter(
      inputs: hidden, rank: options.decayRank, outputs: extents.keyWidth, bias: .zeros,
      activation: .tanh, scope: scope["w_proj"]["linear"])
    key = try linear("k_proj", extents.keyWidth)
    value = try linear("v_proj", extents.valueWidth)
    gate = try linear("g_proj", extents.valueWidth)
    bonus = try scope.parameter("bonus", [options.heads, extents.keyDimension], .zeros)
    norm = try GroupNorm(
      width: extents.valueWidth, groups: options.heads, epsilon: options.normEpsilon,
      scope: scope["g_norm"])
    output = try Linear(
      inputs: extents.valueWidth, outputs: hidden, scale: outputScale, scope: scope["o_proj"])
  }

  public func mixed(_ x: Tensor, _ stream: inout TokenStream) throws -> Tensor {
    let heads = options.heads
    let x = try stream.withoutPadding(x)
    let difference = try stream.previousTokens(of: x) - x
    let inputs = try shiftFactors(x, difference).map { try x + difference * $0 }
    let decays = try -decay(inputs[1]).inGatePrecision().exponential()
    let result = try rwkv6(
      receptances: receptance(inputs[0]).separatedHeads(heads),
      keys: stream.withoutPadding(key(inputs[2])).separatedHeads(heads),
      values: stream.withoutPadding(value(inputs[3])).separatedHeads(heads),
      decay: stream.withoutPadding(decays).separatedHeads(heads), bonus: bonus,
      initialState: stream.states["state"], cumulativeLengths: stream.cumulativeLengths)
    stream.states["state"] = result.finalState
    return try output(options.gate(norm(result.output.joinedHeads()), gate(inputs[4])))
  }

  /// m of r, w, k, v and g, [batch, length, hidden] each.
  private func shiftFactors(_ x: Tensor, _ difference: Tensor) throws -> [Tensor] {
    let rank = options.shiftRank
    let inner = try shiftDown(x + difference * shift).tanh()
    return try (0..<Self.inputs).map { input in
      let columns = input * rank..<(input + 1) * rank
      let product = try inner.sliced(-1, columns)
        .multiplied(byRowsOf: shiftUp.sliced(1, columns).contiguous())
      return try product + shiftBias.selected(0, input)
    }
  }
}

extension RWKV6 {
  /// How a layer divides its width.
  public struct Options: MixerOptions {
    public var heads: Int
    /// The keys' width over all heads, as a multiple of the hidden size.
    public var keyExpansion = 0.5
    /// The values' width over all heads, as a multiple of the hidden size.
    public var valueExpansion = 1.0
    /// The rank of the projections that mix a token with the one before it.
    public var shiftRank = 32
    /// The rank of the decays' projection.
    public var decayRank = 64
    public var gate = OutputGate.swish
    /// ε of the norm over each head.
    public var normEpsilon = 1e-5

    public init(heads: Int) { self.heads = heads }
    public init() { self.init(heads: 4) }

    public func validate(hidden: Int) throws {
      _ = try extents(hidden: hidden)
      try LayerError.require("shiftRank", isExtent: shiftRank, times: RWKV6.inputs)
      try LayerError.require("decayRank", isExtent: decayRank)
      try LayerError.require("normEpsilon", isPositive: normEpsilon)
    }

    func extents(hidden: Int) throws -> HeadExtents {
      try HeadExtents(
        hidden: hidden, heads: heads, keyExpansion: keyExpansion, valueExpansion: valueExpansion)
    }
  }
}
