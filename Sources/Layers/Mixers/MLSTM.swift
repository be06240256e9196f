import AttentionCLibrary
import AttentionOperators
import AttentionTensors

/// The matrix long short-term memory of xLSTM: linear attention with a forget gate, an exponential input gate, and
/// weights that are divided by the magnitude of their sum where that is above 1.
///
///     C_t = σ(f_t) C_{t−1} + e^(i_t) k_t v_tᵀ ,   n_t = σ(f_t) n_{t−1} + e^(i_t) k_t
///     h_t = C_tᵀ q_t / max(|n_tᵀ q_t|, 1) ,   y = Wₒ (GroupNorm(h) ⊙ σ(W_o x)) ,   q = W_q x / √d
///
/// The arguments of the gates are capped, i = c tanh(W_i x / c), so that e^(i − c) is at most 1 and needs no running
/// maximum. The norm is over each head.
///
/// Parameters: `q`, `k`, `v`, `ogate_preact`, `igate_preact`, `fgate_preact`, `multihead_norm`, `out_proj`, as in xLSTM.
///
/// Reference: Beck et al., [*xLSTM: Extended long short-term memory*](https://arxiv.org/abs/2405.04517) (2024), and
/// [*xLSTM 7B*](https://arxiv.org/abs/2503.13427) (2025).
public struct MLSTM: RecurrentMixer, ConfiguredMixer {
  public let hidden: Int
  private let options: Options
  private let query, key, value, gate, inputGate, forgetGate: Linear
  /// [heads]
  private let inputBias, forgetBias: Tensor
  private let norm: GroupNorm
  private let output: Linear

  /// Gates before training: tokens are hardly written, and states of heads last differently long.
  private static let inputBias = -10.0
  private static let forgetBiases = 3.0...6

  public init(hidden: Int, options: Options, outputScale: Double, scope: ParameterScope) throws {
    try options.validate(hidden: hidden)
    let extents = try options.extents(hidden: hidden)
    let heads = options.heads
    func linear(_ name: String, _ outputs: Int) throws -> Linear {
      try Linear(
        inputs: hidden, outputs: outputs, hasBias: options.hasBias, scope: scope[name])
    }
    func bias(_ name: String, _ initial: [Double]) throws -> Tensor {
      try scope[name].parameter("bias", [heads], .row(initial))
    }
    let span = Self.forgetBiases.upperBound - Self.forgetBiases.lowerBound
    self.hidden = hidden
    self.options = options
    query = try linear("q", extents.keyWidth)
    key = try linear("k", extents.keyWidth)
    value = try linear("v", extents.valueWidth)
    gate = try linear("ogate_preact", extents.valueWidth)
    inputGate = try Linear(inputs: hidden, outputs: heads, scope: scope["igate_preact"])
    inputBias = try bias("igate_preact", Array(repeating: Self.inputBias, count: heads))
    forgetGate = try Linear(inputs: hidden, outputs: heads, scope: scope["fgate_preact"])
    forgetBias = try bias(
      "fgate_preact",
      (0..<heads).map {
        Self.forgetBiases.lowerBound + span * Double($0) / Double(max(1, heads - 1))
      })
    norm = try GroupNorm(
      width: extents.valueWidth, groups: heads, hasBias: options.hasBias,
      epsilon: options.normEpsilon, scope: scope["multihead_norm"])
    output = try Linear(
      inputs: extents.valueWidth, outputs: hidden, hasBias: options.hasBias, scale: outputScale,
      scope: scope["out_proj"])
  }

  public func mixed(_ x: Tensor, _ stream: inout TokenStream) throws -> Tensor {
    let heads = options.heads
    let cap = options.gateCap
    func capped(_ logits: Tensor) throws -> Tensor {
      try (logits.inGatePrecision() / cap).tanh() * cap
    }
    let writes = try (capped(inputGate(x) + inputBias) - cap).exponential()
    // Writes span e^(2c): too much for half precision.
    func rows(_ projection: Linear) throws -> Tensor {
      try projection(x).separatedHeads(heads).inGatePrecision()
    }
    let values = try rows(value)
    let width = values.shape[3]
    let ones = try Tensor.ones(
      [x.shape[0], x.shape[1], heads, 1], dtype: values.dtype, device: values.device)
    let result = try linearAttention(
      queries: rows(query),
      keys: rows(key) * stream.withoutPadding(writes).unsqueezed(-1),
      // The sum of the weights is one more column of the state.
      values: .concatenated([values, ones], 3),
      decay: stream.withoutPadding(capped(forgetGate(x) + forgetBias).logSigmoid()),
      initialState: stream.states["state"], cumulativeLengths: stream.cumulativeLengths)
    stream.states["state"] = result.finalState
    let parts = try result.output.split(-1, sizes: [width, 1])
    let least = try Tensor.full([], exp(-cap), dtype: parts[1].dtype)
    let mixed = try (parts[0] / parts[1].absolute().maximum(least)).joinedHeads()
    return try output(OutputGate.sigmoid(norm(mixed.cast(to: x.dtype)), gate(x)))
  }
}

extension MLSTM {
  /// How a layer divides its width.
  public struct Options: MixerOptions {
    public var heads: Int
    /// The keys' width over all heads, as a multiple of the hidden size.
    public var keyExpansion = 0.5
    /// The values' width over all heads, as a multiple of the hidden size.
    public var valueExpansion = 1.0
    /// c, from which the arguments of the gates stay away.
    public var gateCap = 15.0
    /// Whether projections and norm have biases.
    public var hasBias = false
    public var normEpsilon = 1e-6

    /// e^(−2c) is a normal float32 number.
    static let largestCap = 40.0

    public init(heads: Int) { self.heads = heads }
    public init() { self.init(heads: 4) }

    public func validate(hidden: Int) throws {
      _ = try extents(hidden: hidden)
      guard gateCap > 0, gateCap <= Self.largestCap else {
        throw LayerError.invalidArgument(
          "gateCap", was: "\(gateCap)", mustBe: "above 0 and at most \(Self.largestCap)")
      }
      try LayerError.require("normEpsilon", isPositive: normEpsilon)
    }

    func extents(hidden: Int) throws -> HeadExtents {
      try HeadExtents(
        hidden: hidden, heads: heads, keyExpansion: keyExpansion, valueExpansion: valueExpansion)
    }
  }
}
