import AttentionCLibrary
import AttentionOperators
import AttentionTensors

/// RWKV-7's time mixing: a matrix state per head with a decay per channel, from which a fraction of what a key reads is
/// removed before a token is written.
///
///     S_t = diag(w_t) S_{t−1} − (a_t ⊙ κ̂_t) (S_{t−1}ᵀ κ̂_t)ᵀ + k̃_t v_tᵀ ,   o_t = S_tᵀ r_t
///     x^□ = x + μ_□ ⊙ (x₋ − x) for □ of r, w, k, v, a, g ,  with the token before x as x₋
///     w = exp(−e^(−1/2) σ(lora(x^w))) ,  a = σ(lora(x^a)) ,  κ̂ = (k ⊙ ξ)/|k ⊙ ξ| ,  k̃ = k ⊙ (1 + (a − 1) ⊙ α)
///     v = v' + (v¹ − v') ⊙ σ(lora(x^v)) ,  with the values v¹ of the first layer, in all other layers
///     y = Wₒ ((GroupNorm(o) + (r ⊙ ρ ⊙ k̃)·1 v) ⊙ lora(x^g))
///
/// The first layer leaves its values in the context's ``TokenContext/shared`` for the others.
///
/// Parameters: `x_r`, `x_w`, `x_k`, `x_v`, `x_a`, `x_g` μ, `k_k` ξ, `k_a` α, `r_k` ρ, `r_proj`, `k_proj`, `v_proj`,
/// `w_lora`, `a_lora`, `g_lora`, `v_lora` except in the first layer, `g_norm`, `o_proj`, as in flash-linear-attention.
///
/// Reference: Peng et al.,
/// [*RWKV-7 "Goose" with expressive dynamic state evolution*](https://arxiv.org/abs/2503.14456) (2025).
public struct RWKV7: RecurrentMixer, ConfiguredMixer {
  public let hidden: Int
  private let heads: Int
  /// [1, 1, hidden] each, of r, w, k, v, a and g.
  private let shifts: [Tensor]
  /// ξ and α [hidden]
  private let removal, replacement: Tensor
  /// ρ [heads, dimension]
  private let bonus: Tensor
  private let receptance, key, value: Linear
  private let decay, rate, gate: LowRankAdapter
  /// Nil in the first layer.
  private let residual: LowRankAdapter?
  private let norm: GroupNorm
  private let output: Linear

  /// The name of the first layer's values among the shared tensors.
  private static let firstValues = "rwkv7.values"
  /// Log-decays are between this and 0.
  private static let smallestDecay = -exp(-0.5)
  /// Added to the squared norm of removal keys.
  private static let removalEpsilon = 1e-24

  public init(hidden: Int, options: Options, outputScale: Double, scope: ParameterScope) throws {
    try options.validate(hidden: hidden)
    let initial = Initial(hidden: hidden, options: options)
    func linear(_ name: String, scale: Double = 1) throws -> Linear {
      try Linear(inputs: hidden, outputs: hidden, scale: scale, scope: scope[name])
    }
    func adapter(
      _ name: String, _ rank: Int, _ bias: Initializer?, _ activation: LowRankAdapter.Activation
    ) throws -> LowRankAdapter {
      try LowRankAdapter(
        inputs: hidden, rank: rank, outputs: hidden, bias: bias, activation: activation,
        scope: scope[name])
    }
    self.hidden = hidden
    heads = options.heads
    shifts = try zip(["r", "w", "k", "v", "a", "g"], initial.shiftExponents).map {
      try scope.parameter("x_" + $0, [1, 1, hidden], initial.shift($1))
    }
    removal = try scope.parameter("k_k", [hidden], initial.removal)
    replacement = try scope.parameter("k_a", [hidden], .constant(Initial.replacement))
    bonus = try scope.parameter("r_k", [heads, hidden / heads], .constant(Initial.bonus))
    receptance = try linear("r_proj")
    key = try linear("k_proj", scale: Initial.keyScale)
    value = try linear("v_proj")
    decay = try adapter("w_lora", options.decayRank, initial.decay, .tanh)
    rate = try adapter("a_lora", options.rateRank, initial.rate, .identity)
    gate = try adapter("g_lora", options.gateRank, nil, .sigmoid)
    residual =
      options.layer == 0
      ? nil : try adapter("v_lora", options.valueRank, initial.residual, .identity)
    norm = try GroupNorm(
      width: hidden, groups: heads, epsilon: Double(hidden / heads) * options.normEpsilon,
      scope: scope["g_norm"])
    output = try linear("o_proj", scale: outputScale)
  }

  public func mixed(_ x: Tensor, _ stream: inout TokenStream) throws -> Tensor {
    let x = try stream.withoutPadding(x)
    let difference = try stream.previousTokens(of: x) - x
    let inputs = try shifts.map { try x + difference * $0 }
    func separated(_ y: Tensor) throws -> Tensor { try y.separatedHeads(heads) }
    let receptances = try separated(receptance(inputs[0]))
    let decays = try decay(inputs[1]).inGatePrecision().sigmoid() * Self.smallestDecay
    let keys = try key(inputs[2])
    let values = try separated(values(inputs[3], stream))
    let rates = try rate(inputs[4]).sigmoid()
    let written = try separated(keys * ((rates - 1) * replacement + 1))
    let result = try rwkv7(
      receptances: receptances, keys: stream.withoutPadding(written), values: values,
      decay: separated(stream.withoutPadding(decays)),
      removalKeys: separated(keys * removal).l2Normalized(epsilon: Self.removalEpsilon),
      learningRates: separated(stream.withoutPadding(rates)),
      initialState: stream.states["state"], cumulativeLengths: stream.cumulativeLengths)
    stream.states["state"] = result.finalState
    let weights = try (receptances * written * bonus).sum([-1], keepsAxes: true)
    let mixed = try norm(result.output.joinedHeads()) + (weights * values).joinedHeads()
    return try output(mixed * gate(inputs[5]))
  }

  /// The values, with those of the first layer mixed in, or left for the layers that follow.
  private func values(_ x: Tensor, _ stream: TokenStream) throws -> Tensor {
    let own = try value(x)
    let shared = stream.context.shared
    guard let residual else {
      shared[Self.firstValues] = own
      return own
    }
    guard let first = shared[Self.firstValues], first.shape == own.shape else {
      throw LayerError.invalidArgument(
        "context", was: "without values of a first RWKV-7 layer of this size",
        mustBe: "that of the call in which the first layer was called")
    }
    return try own + (first - own) * residual(x).sigmoid()
  }
}

extension RWKV7 {
  /// How a layer divides its width, and its place in the model.
  public struct Options: MixerOptions {
    public var heads: Int
    /// The index of the layer: the first leaves its values for the others.
    public var layer = 0
    /// The number of layers of the model, on which initial parameters depend.
    public var layers = 1
    /// Ranks of the low-rank projections.
    public var decayRank = 32
    public var rateRank = 32
    public var valueRank = 32
    public var gateRank = 32
    /// ε of the norm over each head, per channel of a head.
    public var normEpsilon = 1e-5

    public init(heads: Int) { self.heads = heads }
    public init() { self.init(heads: 4) }

    public func validate(hidden: Int) throws {
      try LayerError.require("hiddenSize", isExtent: hidden)
      try LayerError.require("heads", isExtent: heads)
      try LayerError.require("hiddenSize", hidden, isMultipleOf: heads, "heads")
      try LayerError.require("layers", layers, atLeast: 1)
      try LayerError.require("layer", layer, in: 0...layers - 1)
      let ranks = [
        ("decayRank", decayRank), ("rateRank", rateRank), ("valueRank", valueRank),
        ("gateRank", gateRank),
      ]
      for (name, rank) in ranks { try LayerError.require(name, isExtent: rank) }
      try LayerError.require("normEpsilon", isPositive: normEpsilon)
    }
  }
}
