import AttentionOperators
import AttentionTensors

/// HGRN-2: gated linear attention whose keys are the complements of the forget gates.
///
///     S_t = diag(λ_t) S_{t−1} + (1 − λ_t) i_tᵀ ,   o_t = S_tᵀ silu(q_t) / √d ,   λ = γ + (1 − γ) σ(f)
///     y = Wₒ RMSNorm(o) ,  where the norm is over all heads
///
/// Parameters: `q_proj`, `f_proj`, `i_proj`, their `q_conv1d`, … if there are convolutions, `g_norm`, `o_proj`, as in
/// flash-linear-attention.
///
/// Reference: Qin, Yang, Sun, Shen, Li, Sun, Zhong,
/// [*HGRN2: Gated linear RNNs with state expansion*](https://arxiv.org/abs/2404.07904) (2024).
public struct HGRN2: RecurrentMixer, ConfiguredMixer {
  public let hidden: Int
  private let options: Options
  private let query: ConvolvedProjection
  private let forget: ConvolvedProjection
  private let input: ConvolvedProjection
  private let norm: RMSNorm
  private let output: Linear

  public init(hidden: Int, options: Options, outputScale: Double, scope: ParameterScope) throws {
    try options.validate(hidden: hidden)
    let keys = options.heads * options.keyDimension(hidden: hidden)
    func projection(_ name: String, _ width: Int) throws -> ConvolvedProjection {
      try ConvolvedProjection(
        name, inputs: hidden, outputs: width, convolution: options.convolution,
        appliesSiLU: false, scope: scope)
    }
    self.hidden = hidden
    self.options = options
    query = try projection("q", keys)
    forget = try projection("f", keys)
    input = try projection("i", hidden)
    norm = try RMSNorm(width: hidden, epsilon: options.normEpsilon, scope: scope["g_norm"])
    output = try Linear(
      inputs: hidden, outputs: hidden, scale: outputScale, scope: scope["o_proj"])
  }

  public func mixed(_ x: Tensor, _ stream: inout TokenStream) throws -> Tensor {
    let heads = options.heads
    let queries = try query(x, &stream).silu()
    let logits = try forget(x, &stream).inGatePrecision()
    let bound =
      try options.boundLayer.map {
        try LayerBounds.bound(layer: $0, width: logits.shape[2], in: stream.context)
          .cast(to: logits.dtype)
      }
      ?? options.lowerBound.map {
        try .full([], $0, dtype: logits.dtype, device: logits.device)
      }
    let logForget = try bound.map { try logits.logSigmoid(boundedBy: $0) } ?? logits.logSigmoid()
    let result = try hgrn2(
      queries: queries.separatedHeads(heads),
      logForget: stream.withoutPadding(logForget).separatedHeads(heads),
      inputs: input(x, &stream).separatedHeads(heads), initialState: stream.states["state"],
      cumulativeLengths: stream.cumulativeLengths)
    stream.states["state"] = result.finalState
    return try output(norm(result.output.joinedHeads()))
  }
}

extension HGRN2 {
  /// How a layer divides its width.
  public struct Options: MixerOptions {
    public var heads: Int
    /// The dimension of a query and a forget gate; nil for hidden / heads.
    public var keyDimension: Int?
    public var convolution = ConvolutionOptions(width: nil)
    /// γ, from 0 to 1: larger in later layers; nil for none.
    public var lowerBound: Double?
    /// The layer whose γ the model has learned (``LayerBounds``); nil for ``lowerBound``.
    public var boundLayer: Int?
    public var normEpsilon = 1e-5

    public init(heads: Int) { self.heads = heads }
    public init() { self.init(heads: 4) }

    public func validate(hidden: Int) throws {
      try LayerError.require("hiddenSize", isExtent: hidden)
      try LayerError.require("heads", isExtent: heads)
      try LayerError.require("hiddenSize", hidden, isMultipleOf: heads, "heads")
      try LayerError.require(
        "keyDimension", isExtent: keyDimension(hidden: hidden), times: heads)
      try convolution.validate()
      try LayerError.require("lowerBound", isShare: lowerBound)
      try LayerError.require("normEpsilon", isPositive: normEpsilon)
    }

    func keyDimension(hidden: Int) -> Int { keyDimension ?? hidden / max(1, heads) }
  }
}
