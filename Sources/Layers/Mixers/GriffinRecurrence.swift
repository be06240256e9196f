import AttentionOperators
import AttentionTensors

/// Griffin's recurrent block: a gated branch with a short convolution and a real-gated linear recurrent unit.
///
///     u = conv(W_x x) ,   a_t = exp(−8 σ(R u_t) softplus(Λ)) ,   h_t = a_t ⊙ h_{t−1} + m_t ⊙ σ(I u_t) ⊙ u_t
///     y = Wₒ (h ⊙ gelu(W_y x)) ,   m = √(1 − a²) , and 1 for the first token
///
/// R and I are block-diagonal, with one block per head, and have biases; gelu is the approximation by tanh.
///
/// Parameters: `linear_x`, `linear_y`, `conv_1d`, `rg_lru.recurrent_param` Λ, `rg_lru.input_gate_weight`,
/// `rg_lru.input_gate_bias`, `rg_lru.recurrent_gate_weight`, `rg_lru.recurrent_gate_bias`, `linear_out`, as in
/// RecurrentGemma.
///
/// Reference: De, Smith, Fernando et al., [*Griffin*](https://arxiv.org/abs/2402.19427) (2024).
public struct GriffinRecurrence: RecurrentMixer, ConfiguredMixer {
  public let hidden: Int
  private let heads: Int
  private let input, branch, output: Linear
  private let convolution: ShortConvolution?
  private let decayLogits: Tensor
  private let inputGate, recurrenceGate: BlockDiagonalLinear

  /// The factor of log-decays.
  private static let sharpness = 8.0
  /// Λ is drawn so that the decay of an open gate is between 0.9 and 0.999.
  private static let decayLogits = -9.0 ... -4.3

  public init(hidden: Int, options: Options, outputScale: Double, scope: ParameterScope) throws {
    try options.validate(hidden: hidden)
    let width = options.width ?? hidden
    let recurrence = scope["rg_lru"]
    self.hidden = hidden
    heads = options.heads
    input = try Linear(inputs: hidden, outputs: width, hasBias: true, scope: scope["linear_x"])
    branch = try Linear(inputs: hidden, outputs: width, hasBias: true, scope: scope["linear_y"])
    convolution = try options.convolution.layer(
      channels: width, appliesSiLU: false, scope: scope["conv_1d"])
    decayLogits = try recurrence.parameter(
      "recurrent_param", [width],
      .uniform(from: Self.decayLogits.lowerBound, to: Self.decayLogits.upperBound))
    inputGate = try BlockDiagonalLinear(
      "input_gate", width: width, blocks: heads, scope: recurrence)
    recurrenceGate = try BlockDiagonalLinear(
      "recurrent_gate", width: width, blocks: heads, scope: recurrence)
    output = try Linear(
      inputs: width, outputs: hidden, hasBias: true, scale: outputScale,
      scope: scope["linear_out"])
  }

  public func mixed(_ x: Tensor, _ stream: inout TokenStream) throws -> Tensor {
    let inputs = try stream.convolved(
      input(x), by: convolution, "conv_1d", appliesSiLU: false)
    let gate = try recurrenceGate(inputs).inGatePrecision().sigmoid()
    let rate = try decayLogits.cast(to: gate.dtype).softplus() * -Self.sharpness
    let decay = try gate * rate
    let gated = try inputGate(inputs).cast(to: gate.dtype).sigmoid() * inputs.cast(to: gate.dtype)
    let weighed = try gated * multiplier(decay, isFirst: stream.firstTokens())
    let result = try gatedScan(
      inputs: stream.withoutPadding(weighed).cast(to: x.dtype),
      decay: stream.withoutPadding(decay), initialState: stream.states["state"],
      cumulativeLengths: stream.cumulativeLengths)
    stream.states["state"] = result.finalState
    return try output(result.output * branch(x).gelu(usesTanh: true))
  }

  /// m for log-decays, [batch, length, width]: the square root has a finite derivative at 0.
  private func multiplier(_ decay: Tensor, isFirst: Tensor) throws -> Tensor {
    let one = try Tensor.ones([], dtype: decay.dtype)
    let rest = try -(decay * 2).exponentialMinusOne()
    let isOne = try isFirst.unsqueezed(-1)
    let least =
      decay.dtype == .float64 ? Double.leastNormalMagnitude : Double(Float.leastNormalMagnitude)
    return try .select(isOne, one, rest.clamped(to: least...).squareRoot())
  }
}

/// y = W x + b, where W has blocks on its diagonal.
///
/// Parameters: `NAME_weight` [blocks, inputs of a block, outputs of a block], `NAME_bias` [blocks, outputs of a block].
private struct BlockDiagonalLinear: Sendable {
  let weight: Tensor
  let bias: Tensor

  init(_ name: String, width: Int, blocks: Int, scope: ParameterScope) throws {
    let size = width / blocks
    weight = try scope.parameter(
      name + "_weight", [blocks, size, size], .scaledNormal(inputs: size))
    bias = try scope.parameter(name + "_bias", [blocks, size], .zeros)
  }

  /// [batch, length, width] → [batch, length, width]
  func callAsFunction(_ x: Tensor) throws -> Tensor {
    let blocks = try x.separatedHeads(weight.shape[0]).unsqueezed(-2)
    return try (blocks.matmul(weight).squeezed(-2) + bias).joinedHeads()
  }
}

extension GriffinRecurrence {
  /// How a layer divides its width.
  public struct Options: MixerOptions {
    /// The number of channels; nil for the hidden size.
    public var width: Int?
    /// Blocks of the gates' matrices, a divisor of the width.
    public var heads: Int
    public var convolution = ConvolutionOptions(hasBias: true)

    public init(heads: Int) { self.heads = heads }
    public init() { self.init(heads: 4) }

    public func validate(hidden: Int) throws {
      try LayerError.require("hiddenSize", isExtent: hidden)
      try LayerError.require("heads", isExtent: heads)
      try LayerError.require("width", width ?? hidden, isMultipleOf: heads, "heads")
      try convolution.validate()
    }
  }
}

extension TokenStream {
  /// Which tokens are the first of their sequences, padding apart: bool [batch, length].
  ///
  /// The numbers of tokens that have been read, [batch, 1], are kept among the states.
  mutating func firstTokens() throws -> Tensor {
    let (batch, length) = (context.batch, context.length)
    let one = try Tensor.ones([], device: context.positions.device)
    if cumulativeLengths != nil {
      let positions = try context.positions.reshaped([batch, length])
      return try one.isGreater(than: positions.cast(to: .float32))
    }
    let tokens = try withoutPadding(
      .ones([batch, length], device: context.positions.device))
    let counts = try tokens.cumulativeSum(1) + (states["tokens"] ?? .zeros([], device: one.device))
    if length > 0 { states["tokens"] = try counts.sliced(1, length - 1..<length) }
    // A token counts itself, and padding does not.
    let read = try counts - tokens
    return try tokens.isGreater(than: read)
  }
}
