import AttentionCLibrary
import AttentionTensors

/// A penalty that grows with distance: − slope · |distance|.
///
/// Reference: Press, Smith, Lewis, *Train short, test long: attention with linear biases* (2022).
public enum ALiBi: Hashable, Sendable {
  /// Slopes 2^(−8(h+1)/H) for H heads.
  case standard
  /// One slope for each query head.
  case slopes([Float])

  func slopes(heads: Int) -> [Float] {
    switch self {
    case .standard:
      (0..<heads).map { Float(pow(2, -8 * Double($0 + 1) / Double(heads))) }
    case .slopes(let slopes): slopes
    }
  }
}

/// What is done to scores between the similarity and the mask, in this order.
public struct ScoreTerms: Sendable {
  /// s ← c · tanh(s / c)
  public var softcap: Double?
  public var alibi: ALiBi?
  /// Added; broadcasts to [batch, heads, queries, keys]; tracked tensors get a gradient. −∞ hides a pair as
  /// the mask does. Of bool it is a mask of pairs, true where a key may be attended, without a gradient.
  ///
  /// It is read as it lies, with any strides and of any floating-point type, and added as float32: no copy
  /// of it is made.
  public var bias: Tensor?
  /// [batch, length, heads], natural log: adds c_i − c_j, c the running sum along the sequence
  /// (forgetting attention; Lin et al., *Forgetting Transformer*, 2025). A decay of −∞, or up to −2⁶⁴, cuts
  /// the sequence: tokens from it on and those before it do not see each other.
  public var logitDecay: Tensor?
  /// [heads]: one more logit in the softmax's sum, with no value. One of −∞ adds nothing, one of ∞ leaves
  /// zeros.
  public var sinks: Tensor?

  public init(
    softcap: Double? = nil, alibi: ALiBi? = nil, bias: Tensor? = nil, logitDecay: Tensor? = nil,
    sinks: Tensor? = nil
  ) {
    self.softcap = softcap
    self.alibi = alibi
    self.bias = bias
    self.logitDecay = logitDecay
    self.sinks = sinks
  }
}
