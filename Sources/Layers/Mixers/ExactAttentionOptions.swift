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
    if let headDimension {
      try LayerError.require("headDimension", isExtent: headDimension)
    } else if hidden % heads != 0 {
      throw LayerError.invalidArgument(
        "heads", was: "\(heads)", mustBe: "a divisor of the hidden size, \(hidden)")
    }
    let dimension = headDimension ?? hidden / heads
    return Layout(
      heads: heads, keyValueHeads: shared, dimension: dimension,
      rotary: try rotaryTheta.map { try RotaryEmbedding(dimension: dimension, theta: $0) })
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
