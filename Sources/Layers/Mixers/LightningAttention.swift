import AttentionCLibrary
import AttentionOperators
import AttentionTensors

/// Lightning attention: linear attention whose heads decay at fixed rates, slower in later layers.
///
///     S_t = e^(−s) S_{t−1} + k_t v_tᵀ ,   o_t = S_tᵀ q_t ,   [q, k, v] = silu(W x) for each head
///     s = 2^(−8(j+1)/H) (1 − layer/(layers − 1)) for head j of H
///     y = Wₒ (RMSNorm(o) ⊙ σ(W_g x)) ,  where the norm is over all heads
///
/// Parameters: `qkv_proj`, `norm`, `output_gate`, `out_proj`, as in MiniMax.
///
/// References: Qin, Sun, Li, Shen, Sun, Zhong, [*Lightning Attention-2*](https://arxiv.org/abs/2401.04658) (2024);
/// MiniMax, [*MiniMax-01*](https://arxiv.org/abs/2501.08313) (2025).
public struct LightningAttention: RecurrentMixer, ConfiguredMixer {
  public let hidden: Int
  private let heads: Int
  /// −s [heads], on the device of the parameters.
  private let decay: Tensor
  private let input: Linear
  private let gate: Linear
  private let norm: GatedNorm
  private let output: Linear

  public init(hidden: Int, options: Options, outputScale: Double, scope: ParameterScope) throws {
    try options.validate(hidden: hidden)
    let width = options.heads * options.dimension(hidden: hidden)
    self.hidden = hidden
    heads = options.heads
    input = try Linear(inputs: hidden, outputs: 3 * width, scope: scope["qkv_proj"])
    decay = try Tensor(options.decays).moved(to: input.weight.device)
    gate = try Linear(inputs: hidden, outputs: width, scope: scope["output_gate"])
    norm = try GatedNorm(
      width: width, gate: .sigmoid, epsilon: options.normEpsilon, scope: scope["norm"])
    output = try Linear(
      inputs: width, outputs: hidden, scale: outputScale, scope: scope["out_proj"])
  }

  public func mixed(_ x: Tensor, _ stream: inout TokenStream) throws -> Tensor {
    let rows = try stream.withoutPadding(input(x).silu()).separatedHeads(heads)
    let dimension = rows.shape[3] / 3
    let parts = try rows.split(-1, sizes: [dimension, dimension, dimension])
    let result = try linearAttention(
      queries: parts[0], keys: parts[1], values: parts[2],
      decay: stream.decays(perHead: decay), scale: 1,
      initialState: stream.states["state"], cumulativeLengths: stream.cumulativeLengths)
    stream.states["state"] = result.finalState
    return try output(norm(result.output.joinedHeads(), gate: gate(x)))
  }
}

extension LightningAttention {
  /// How a layer divides its width, and its place in the model.
  public struct Options: MixerOptions {
    public var heads: Int
    /// The dimension of a head; nil for hidden / heads.
    public var headDimension: Int?
    /// The index of the layer, from 0 to ``layers`` − 1.
    public var layer = 0
    /// The number of layers of the model.
    public var layers = 1
    public var normEpsilon = 1e-6

    public init(heads: Int) { self.heads = heads }
    public init() { self.init(heads: 4) }

    public func validate(hidden: Int) throws {
      try LayerError.require("hiddenSize", isExtent: hidden)
      try LayerError.require("heads", isExtent: heads)
      if headDimension == nil {
        try LayerError.require("hiddenSize", hidden, isMultipleOf: heads, "heads")
      }
      try LayerError.require(
        "headDimension", isExtent: dimension(hidden: hidden), times: heads)
      try LayerError.require("layers", layers, atLeast: 1)
      try LayerError.require("layer", layer, in: 0...layers - 1)
      try LayerError.require("normEpsilon", isPositive: normEpsilon)
    }

    func dimension(hidden: Int) -> Int { headDimension ?? hidden / max(1, heads) }

    /// −s of every head.
    var decays: [Float] {
      // So that there is one layer, and the last one decays a little.
      let small = 1e-5
      let share = 1 - Double(layer) / (Double(layers - 1) + small) + small
      return (0..<heads).map {
        Float(-exp2(-8 * Double($0 + 1) / Double(heads)) * share)
      }
    }
  }
}
