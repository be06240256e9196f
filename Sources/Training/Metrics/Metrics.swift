import AttentionCLibrary

/// What a group of training steps did: a line of `metrics.jsonl`.
public struct TrainingMetrics: Codable, Hashable, Sendable {
  /// Steps done so far.
  public let step: Int
  /// The mean loss of the group's steps, natural logarithm, a token.
  public let loss: Double
  public let bitsPerByte: Double
  /// The learning rate of the last step.
  public let learningRate: Double
  /// The mean norm of all gradients together, before clipping.
  public let gradientNorm: Double
  /// Tokens trained on a second, without validation and checkpoints.
  public let tokensPerSecond: Double

  enum CodingKeys: String, CodingKey {
    case step, loss
    case bitsPerByte = "bits_per_byte"
    case learningRate = "learning_rate"
    case gradientNorm = "gradient_norm"
    case tokensPerSecond = "tokens_per_second"
  }
}

/// What a validation found: a line of `metrics.jsonl`.
public struct ValidationMetrics: Codable, Hashable, Sendable {
  /// Steps done so far.
  public let step: Int
  /// The mean loss on held-out text, natural logarithm, a token.
  public let loss: Double
  public let bitsPerByte: Double

  enum CodingKeys: String, CodingKey {
    case step
    case loss = "validation_loss"
    case bitsPerByte = "validation_bits_per_byte"
  }
}

/// A loss in nats a token as bits a byte. A token of the byte tokenizer is a byte.
func bitsPerByte(nats: Double) -> Double { nats / log(2) }
