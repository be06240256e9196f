import AttentionTensors

/// RWKV's channel mixing: a feed-forward layer that sees the token before each, and so is a mixer with a state.
///
///     y = W_v relu(W_k x^k)²                                   RWKV-7
///     y = σ(W_r x^r) ⊙ W_v relu(W_k x^k)²                      RWKV-6
///     x^□ = x + μ_□ ⊙ (x₋ − x) ,  with the token before x as x₋
///
/// Parameters as in flash-linear-attention: `x_k` μ_k, `key`, `value` of RWKV-7; `key.mu`, `key.linear`, `value`,
/// `receptance.mu`, `receptance.linear` of RWKV-6.
///
/// References: those of ``RWKV6`` and ``RWKV7``.
public struct ChannelMixing: RecurrentMixer, ConfiguredMixer {
  public let hidden: Int
  private let key: ShiftedLinear
  private let value: Linear
  private let receptance: ShiftedLinear?

  /// A projection of a token mixed with the one before it.
  private struct ShiftedLinear: Sendable {
    /// μ [width]
    let shift: Tensor
    let linear: Linear

    func callAsFunction(_ x: Tensor, _ difference: Tensor) throws -> Tensor {
      try linear(x + difference * shift)
    }
  }

  public init(hidden: Int, options: Options, outputScale: Double, scope: ParameterScope) throws {
    try options.validate(hidden: hidden)
    self.hidden = hidden
    func shifted(_ name: String, _ outputs: Int) throws -> ShiftedLinear {
      ShiftedLinear(
        shift: try scope[name].parameter("mu", [hidden], .zeros),
        linear: try Linear(inputs: hidden, outputs: outputs, scope: scope[name]["linear"]))
    }
    if options.hasReceptance {
      key = try shifted("key", options.inner)
      receptance = try shifted("receptance", hidden)
    } else {
      key = ShiftedLinear(
        shift: try scope.parameter("x_k", [hidden], .zeros),
        linear: try Linear(inputs: hidden, outputs: options.inner, scope: scope["key"]))
      receptance = nil
    }
    value = try Linear(
      inputs: options.inner, outputs: hidden, scale: outputScale, scope: scope["value"])
  }

  public func mixed(_ x: Tensor, _ stream: inout TokenStream) throws -> Tensor {
    let x = try stream.withoutPadding(x)
    let difference = try stream.previousTokens(of: x) - x
    let mixed = try value(Activation.squaredReLU(key(x, difference)))
    guard let receptance else { return mixed }
    return try receptance(x, difference).sigmoid() * mixed
  }
}

extension ChannelMixing {
  /// How wide the layer is, and which it is.
  public struct Options: MixerOptions {
    /// The width between the projections.
    public var inner: Int
    /// Whether the output has RWKV-6's gate.
    public var hasReceptance = false

    public init(inner: Int) { self.inner = inner }
    public init() { self.init(inner: 128) }

    public func validate(hidden: Int) throws {
      try LayerError.require("hiddenSize", isExtent: hidden)
      try LayerError.require("inner", isExtent: inner)
    }
  }
}
