import AttentionTensors

/// The nonlinearity of a feed-forward layer.
public enum Activation: String, Hashable, Sendable, CaseIterable, Codable {
  /// x σ(x)
  case silu
  /// x Φ(x), with Φ the cumulative distribution function of the normal distribution.
  case gelu
  /// ``gelu`` with Φ approximated by a hyperbolic tangent.
  case geluTanh = "gelu_tanh"
  /// max(x, 0)
  case relu
  /// max(x, 0)²
  case squaredReLU = "relu2"

  public func callAsFunction(_ x: Tensor) throws -> Tensor {
    switch self {
    case .silu: try x.silu()
    case .gelu: try x.gelu()
    case .geluTanh: try x.gelu(usesTanh: true)
    case .relu: try x.relu()
    case .squaredReLU: try x.relu().squared()
    }
  }

  /// This of `gate`, times `up`.
  func gating(_ gate: Tensor, _ up: Tensor) throws -> Tensor {
    self == .silu ? try .swiglu(gate, up) : try self(gate) * up
  }
}

/// y = W₂ (f(W₀ x) ⊙ W₁ x), the gated feed-forward layer, or y = W₂ f(W₁ x) without a gate.
///
/// Parameters: `gate_proj`, `up_proj`, `down_proj`, unless its options name them otherwise.
///
/// Reference: Shazeer, *GLU variants improve transformer* (2020).
public struct FeedForward: Sendable {
  /// How wide a feed-forward layer is, and what it computes.
  public struct Options: Hashable, Sendable {
    /// The width between the projections.
    public var inner: Int
    public var activation = Activation.silu
    public var isGated = true
    public var hasBias = false
    /// Multiplies the argument of the activation.
    public var gateScale = 1.0
    /// The names of the projections.
    public var names = Names()

    public init(inner: Int) { self.inner = inner }
  }

  /// What checkpoints call the projections.
  public struct Names: Hashable, Sendable {
    public var gate = "gate_proj"
    public var up = "up_proj"
    public var down = "down_proj"
    /// The projection whose rows are those of the gate and then those of `up`, where they are one tensor.
    public var fused: String?

    public init(
      gate: String = "gate_proj", up: String = "up_proj", down: String = "down_proj",
      fused: String? = nil
    ) {
      self.gate = gate
      self.up = up
      self.down = down
      self.fused = fused
    }
  }

  let options: Options
  /// The projections of the gate and of what it multiplies: one or two.
  let inputs: [Linear]
  let down: Linear

  /// - Parameters:
  ///   - width: the extent of the last axis of input and output.
  ///   - options: the inner width, the activation and the names.
  ///   - outputScale: the standard deviation of an output for inner activations of variance 1.
  ///   - scope: where the projections come from.
  /// - Throws: ``LayerError``.
  public init(
    width: Int, options: Options, outputScale: Double = 1, scope: ParameterScope
  ) throws {
    try LayerError.require("inner", isExtent: options.inner)
    let names = options.names
    func projection(_ name: String, _ outputs: Int) throws -> Linear {
      try Linear(inputs: width, outputs: outputs, hasBias: options.hasBias, scope: scope[name])
    }
    self.options = options
    if options.isGated, let fused = names.fused {
      inputs = [try projection(fused, 2 * options.inner)]
    } else if options.isGated {
      inputs = [
        try projection(names.gate, options.inner), try projection(names.up, options.inner),
      ]
    } else {
      inputs = [try projection(names.up, options.inner)]
    }
    down = try Linear(
      inputs: options.inner, outputs: width, hasBias: options.hasBias, scale: outputScale,
      scope: scope[names.down])
  }

  /// A layer with a gate of silu.
  ///
  /// - Throws: ``LayerError``.
  public init(width: Int, inner: Int, outputScale: Double = 1, scope: ParameterScope) throws {
    try self.init(
      width: width, options: Options(inner: inner), outputScale: outputScale, scope: scope)
  }

  public func callAsFunction(_ x: Tensor) throws -> Tensor {
    let first = try inputs[0](x)
    guard options.isGated else { return try down(options.activation(scaled(first))) }
    if inputs.count == 2 {
      return try down(options.activation.gating(scaled(first), inputs[1](x)))
    }
    let halves = try first.split(-1, sizes: [options.inner, options.inner])
    return try down(
      options.activation.gating(scaled(halves[0].contiguous()), halves[1].contiguous()))
  }

  private func scaled(_ gate: Tensor) throws -> Tensor {
    options.gateScale == 1 ? gate : try gate * options.gateScale
  }
}
