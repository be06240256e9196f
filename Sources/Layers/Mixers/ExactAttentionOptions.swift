import AttentionTensors

/// How an exact attention layer divides its width, and which tokens its queries attend to.
public struct ExactAttentionOptions: Hashable, Sendable {
  public var heads: Int
  /// Query heads share key/value heads in groups of heads / keyValueHeads; nil for as many as heads.
  public var keyValueHeads: Int?
  /// The dimension of one head; nil for hidden / heads.
  public var headDimension: Int?
  /// How many tokens a token attends to, itself included; nil for all before it.
  public var window: Int?
  /// The base of the rotary frequencies; nil for no rotary embedding.
  public var rotaryTheta: Double? = RotaryEmbedding.defaultTheta
  /// How many elements of a head are rotated; nil for all.
  public var rotaryDimension: Int?
  /// How the rotary angles are changed for long sequences.
  public var rotaryScaling: RotaryScaling?
  /// Whether the rotary embedding pairs adjacent elements.
  public var isRotaryInterleaved = false
  /// The norm of queries and keys before they are rotated.
  public var queryKeyNorm: QueryKeyNorm?
  /// Whether the projections of queries, keys and values have biases.
  public var hasBias = false
  /// Whether the output projection has a bias.
  public var hasOutputBias = false
  /// Whether the heads' outputs are multiplied by σ(gate). Each head of `q_proj` is then twice as wide: the
  /// query, and then the gate.
  public var hasOutputGate = false
  /// Whether each head has a learned sink: one more logit in the softmax's sum.
  public var hasSinks = false
  /// Scores s become c · tanh(s / c).
  public var softcap: Double?
  /// Whether scores fall with distance, by slope (ALiBi).
  public var hasALiBi = false
  /// The factor of the products of queries and keys; nil for 1/√dimension.
  public var scale: Double?
  /// Whether checkpoints have the projections of queries, keys and values as one tensor, `qkv_proj`.
  public var isFused = false

  /// A norm of queries and keys, with weights of their own: `q_norm`, `k_norm`.
  public struct QueryKeyNorm: Hashable, Sendable {
    /// Whether it is over all heads together, and not over each.
    public var isOverAllHeads: Bool
    public var norm: NormOptions

    public init(_ norm: NormOptions, isOverAllHeads: Bool = false) {
      self.norm = norm
      self.isOverAllHeads = isOverAllHeads
    }
  }

  public init(
    heads: Int, keyValueHeads: Int? = nil, headDimension: Int? = nil, window: Int? = nil
  ) {
    self.heads = heads
    self.keyValueHeads = keyValueHeads
    self.headDimension = headDimension
    self.window = window
  }

  /// Throws ``LayerError/invalidArgument(_:was:mustBe:)`` naming the option that does not fit a layer
  /// of hidden size `hidden`.
  public func validate(hidden: Int) throws { _ = try layout(hidden: hidden) }

  /// The extents that follow from the options.
  struct Layout: Sendable {
    let heads: Int
    let keyValueHeads: Int
    let dimension: Int
    let rotary: RotaryEmbedding?
  }

  func layout(hidden: Int) throws -> Layout {
    try LayerError.require("hiddenSize", isExtent: hidden)
    try LayerError.require("heads", isExtent: heads)
    let shared = keyValueHeads ?? heads
    guard shared >= 1, heads % shared == 0 else {
      throw LayerError.invalidArgument(
        "keyValueHeads", was: "\(shared)", mustBe: "a divisor of heads, \(heads)")
    }
    if let window { try LayerError.require("window", window, atLeast: 1) }
    if let rotaryTheta { try LayerError.require("rotaryTheta", isPositive: rotaryTheta) }
    if let softcap { try LayerError.require("softcap", isPositive: softcap) }
    if let scale { try LayerError.require("attentionScale", isPositive: scale) }
    if let queryKeyNorm {
      try LayerError.require("normEpsilon", isPositive: queryKeyNorm.norm.epsilon)
    }
    if let headDimension {
      try LayerError.require("headDimension", isExtent: headDimension)
    } else if hidden % heads != 0 {
      throw LayerError.invalidArgument(
        "heads", was: "\(heads)", mustBe: "a divisor of the hidden size, \(hidden)")
    }
    let dimension = headDimension ?? hidden / heads
    let rotated = rotaryDimension ?? dimension
    guard rotaryTheta == nil || (1...dimension).contains(rotated) else {
      throw LayerError.invalidArgument(
        "rotaryDimension", was: "\(rotated)", mustBe: "in 1...\(dimension), the head's")
    }
    return Layout(
      heads: heads, keyValueHeads: shared, dimension: dimension,
      rotary: try rotaryTheta.map {
        try RotaryEmbedding(
          dimension: rotated, theta: $0, scaling: rotaryScaling,
          isInterleaved: isRotaryInterleaved)
      })
  }
}

extension Tensor {
  /// [batch, length, heads · dimension] as [batch, length, heads, dimension].
  func separatedHeads(_ heads: Int) throws -> Tensor {
    try reshaped([shape[0], shape[1], heads, shape[2] / max(1, heads)])
  }

  /// [batch, length, heads, dimension] as [batch, length, heads · dimension].
  func joinedHeads() throws -> Tensor {
    try reshaped([shape[0], shape[1], shape[2] * shape[3]])
  }
}
