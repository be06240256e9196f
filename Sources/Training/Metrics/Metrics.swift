import AttentionCLibrary

/// The figures of a group of training steps: a line of `metrics.jsonl`.
public struct TrainingMetrics: Codable, Hashable, Sendable {
  /// Steps done so far.
  public let step: Int
  /// The mean loss of the group's steps in nats per token.
  public let loss: Double
  public let bitsPerByte: Double
  /// The learning rate of the last step.
  public let learningRate: Double
  /// The mean global norm of the gradients, before clipping.
  public let gradientNorm: Double
  /// Tokens per second, without validation and checkpoints.
  public let tokensPerSecond: Double

  enum CodingKeys: String, CodingKey {
    case step, loss
    case bitsPerByte = "bits_per_byte"
    case learningRate = "learning_rate"
    case gradientNorm = "gradient_norm"
    case tokensPerSecond = "tokens_per_second"
  }
}

/// The result of a validation: a line of `metrics.jsonl`.
public struct ValidationMetrics: Codable, Hashable, Sendable {
  /// Steps done so far.
  public let step: Int
  /// The mean loss on held-out text in nats per token.
  public let loss: Double
  public let bitsPerByte: Double

  enum CodingKeys: String, CodingKey {
    case step
    case loss = "validation_loss"
    case bitsPerByte = "validation_bits_per_byte"
  }
}

/// Converts a loss from nats per token to bits per byte.
///
/// - Parameter bytesPerToken: that of the text; 1 if tokens are bytes.
func bitsPerByte(nats: Double, bytesPerToken: Double) -> Double { nats / log(2) / bytesPerToken }
