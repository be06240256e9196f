import AttentionOperators
import AttentionTensors

/// The minimal gated recurrent unit as a layer: a state per channel, mixed with a candidate by a gate that does not
/// read the state.
///
///     h_t = (1 − z_t) ⊙ h_{t−1} + z_t ⊙ W_h x_t ,   z = σ(W_z x) ,   y = Wₒ h
///
/// Parameters: `linear_z`, `linear_h`, `linear_out`.
///
/// Reference: Feng, Tung, Ahmed, Bengio, Hajimirsadeghi,
/// [*Were RNNs all we needed?*](https://arxiv.org/abs/2410.01201) (2024), section 3.1.
public struct MinGRU: RecurrentMixer, ConfiguredMixer {
  public typealias Options = MinimalRecurrenceOptions

  public let hidden: Int
  private let update, candidate, output: Linear

  public init(hidden: Int, options: Options, outputScale: Double, scope: ParameterScope) throws {
    let width = try options.width(hidden: hidden)
    func linear(_ name: String) throws -> Linear {
      try Linear(
        inputs: hidden, outputs: width, hasBias: options.hasBias, scope: scope[name])
    }
    self.hidden = hidden
    update = try linear("linear_z")
    candidate = try linear("linear_h")
    output = try Linear(
      inputs: width, outputs: hidden, scale: outputScale, scope: scope["linear_out"])
  }

  public func mixed(_ x: Tensor, _ stream: inout TokenStream) throws -> Tensor {
    let result = try minGRU(
      candidates: stream.withoutPadding(candidate(x)),
      updateLogits: stream.context.padding(update(x), with: -Options.saturated),
      initialState: stream.states["state"], cumulativeLengths: stream.cumulativeLengths)
    stream.states["state"] = result.finalState
    return try output(result.output)
  }
}

/// The minimal long short-term memory as a layer: its gates of the state and of the candidate are normalised to a
/// sum of one.
///
///     h_t = f_t / (f_t + i_t) ⊙ h_{t−1} + i_t / (f_t + i_t) ⊙ W_h x_t ,   f = σ(W_f x) ,  i = σ(W_i x) ,   y = Wₒ h
///
/// Parameters: `linear_f`, `linear_i`, `linear_h`, `linear_out`.
///
/// Reference: Feng, Tung, Ahmed, Bengio, Hajimirsadeghi,
/// [*Were RNNs all we needed?*](https://arxiv.org/abs/2410.01201) (2024), section 3.2.
public struct MinLSTM: RecurrentMixer, ConfiguredMixer {
  public typealias Options = MinimalRecurrenceOptions

  public let hidden: Int
  private let forget, input, candidate, output: Linear

  public init(hidden: Int, options: Options, outputScale: Double, scope: ParameterScope) throws {
    let width = try options.width(hidden: hidden)
    func linear(_ name: String) throws -> Linear {
      try Linear(
        inputs: hidden, outputs: width, hasBias: options.hasBias, scope: scope[name])
    }
    self.hidden = hidden
    forget = try linear("linear_f")
    input = try linear("linear_i")
    candidate = try linear("linear_h")
    output = try Linear(
      inputs: width, outputs: hidden, scale: outputScale, scope: scope["linear_out"])
  }

  public func mixed(_ x: Tensor, _ stream: inout TokenStream) throws -> Tensor {
    let result = try minLSTM(
      candidates: stream.withoutPadding(candidate(x)),
      forgetLogits: stream.context.padding(forget(x), with: Options.saturated),
      inputLogits: stream.context.padding(input(x), with: -Options.saturated),
      initialState: stream.states["state"], cumulativeLengths: stream.cumulativeLengths)
    stream.states["state"] = result.finalState
    return try output(result.output)
  }
}

/// The options of ``MinGRU`` and ``MinLSTM``.
public struct MinimalRecurrenceOptions: MixerOptions {
  /// The number of channels, as a multiple of the hidden size.
  public var expansion = 1.0
  /// Whether the projections before the recurrence have biases.
  public var hasBias = true

  /// The argument of an open gate; a closed one has its negative.
  static let saturated = 1e4

  public init() {}

  public func validate(hidden: Int) throws { _ = try width(hidden: hidden) }

  func width(hidden: Int) throws -> Int {
    try LayerError.require("hiddenSize", isExtent: hidden)
    return try LayerError.width("expansion", expansion, of: hidden, heads: 1)
  }
}
