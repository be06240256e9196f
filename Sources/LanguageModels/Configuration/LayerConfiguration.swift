import AttentionLayers

/// One layer of a model: which token mixer it has, and the mixer's options.
///
///     { type: "softmax", heads: 4, key_value_heads: 2, window: 128 }
///     { type: "cosine", heads: 4, scale: 8 }
///     { type: "gated_linear", heads: 4, gate: "swish" }
///
/// `softmax` and `cosine` have the keys `heads`, `key_value_heads` (as many), `head_dimension` (the
/// hidden size divided by the heads), `window` (none) and `rotary_theta` (10000; null for no
/// positions); `cosine` has `scale` (8) too. `gated_linear` has `heads`, `key_expansion` (0.5),
/// `value_expansion` (1), `decay_rank` (16), `decay_divisor` (16) and `gate` ("swish" or "sigmoid").
/// What is in parentheses holds for an absent key; `heads` is then 4.
public enum LayerConfiguration: Hashable, Sendable {
  case softmax(ExactAttentionOptions)
  case cosine(ExactAttentionOptions, scale: Double = CosineAttention.defaultScale)
  case gatedLinear(GatedLinearAttention.Options)

  /// The heads of a layer that does not say.
  public static let defaultHeads = 4

  /// The name in configurations.
  public var type: String { kind.rawValue }

  enum Kind: String, CaseIterable {
    case softmax
    case cosine
    case gatedLinear = "gated_linear"
  }

  var kind: Kind {
    switch self {
    case .softmax: .softmax
    case .cosine: .cosine
    case .gatedLinear: .gatedLinear
    }
  }

  /// Throws `LayerError` naming the option that does not fit a model of `hidden` numbers a
  /// token.
  func validate(hidden: Int) throws {
    switch self {
    case .softmax(let options): try options.validate(hidden: hidden)
    case .cosine(let options, let scale):
      try options.validate(hidden: hidden)
      guard scale > 0, scale.isFinite else {
        throw LayerError.invalidArgument("scale", was: "\(scale)", mustBe: "a number above 0")
      }
    case .gatedLinear(let options): try options.validate(hidden: hidden)
    }
  }

  /// The mixer, with its parameters from `scope`.
  func mixer(hidden: Int, outputScale: Double, scope: ParameterScope) throws -> any TokenMixer {
    switch self {
    case .softmax(let options):
      try SoftmaxAttention(
        hidden: hidden, options: options, outputScale: outputScale, scope: scope)
    case .cosine(let options, let scale):
      try CosineAttention(
        hidden: hidden, options: options, initialScale: scale, outputScale: outputScale,
        scope: scope)
    case .gatedLinear(let options):
      try GatedLinearAttention(
        hidden: hidden, options: options, outputScale: outputScale, scope: scope)
    }
  }
}
