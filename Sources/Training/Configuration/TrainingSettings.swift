import AttentionLanguageModels

/// How a model is trained: the section `training`.
public struct TrainingSettings: Codable, Hashable, Sendable {
  /// Optimizer steps of the whole run.
  public var steps = 1000
  /// Windows of text per step.
  public var batchSize = 8
  /// Tokens in a window: the longest context that is trained on.
  public var length = 256
  /// The highest learning rate, reached at the end of the warm-up.
  public var learningRate = 3e-3
  /// The learning rate at the end of the cosine.
  public var minimumLearningRate = 3e-4
  public var warmupSteps = 50
  /// Fraction of a weight subtracted per step, times the learning rate. Matrices only.
  public var weightDecay = 0.1
  public var beta1 = 0.9
  public var beta2 = 0.95
  public var epsilon = 1e-8
  /// The greatest global norm of the gradients; larger ones are scaled down to it.
  public var clipNorm = 1.0
  /// The dtype that the model computes in.
  public var precision = Precision.float32
  /// Determines the initial weights and the order of the text.
  public var seed = 0
  /// Steps per line of metrics.
  public var logInterval = 10
  /// Steps between validations. The last step is always validated.
  public var validationInterval = 100
  /// Approximate number of held-out tokens that a validation reads.
  public var validationTokens = 65536
  /// Steps between checkpoints. The last step always has one.
  public var checkpointInterval = 200
  /// Number of checkpoints kept, the latest ones.
  public var keptCheckpoints = 2
  /// The folder for checkpoints, metrics and the loss curve, relative to the working directory. A
  /// configuration file without this key gets `runs/` and the file's name.
  public var outputDirectory = "runs/model"

  /// More steps than anyone takes, and few enough that counting them cannot overflow.
  static let mostSteps = 1 << 48

  public init() {}

  enum CodingKeys: String, CodingKey, CaseIterable {
    case steps
    case batchSize = "batch_size"
    case length
    case learningRate = "learning_rate"
    case minimumLearningRate = "minimum_learning_rate"
    case warmupSteps = "warmup_steps"
    case weightDecay = "weight_decay"
    case beta1, beta2, epsilon
    case clipNorm = "clip_norm"
    case precision, seed
    case logInterval = "log_interval"
    case validationInterval = "validation_interval"
    case validationTokens = "validation_tokens"
    case checkpointInterval = "checkpoint_interval"
    case keptCheckpoints = "kept_checkpoints"
    case outputDirectory = "output_directory"
  }

  public init(from decoder: any Decoder) throws {
    self.init()
    let values = try decoder.strictContainer(keyedBy: CodingKeys.self)
    steps = try values.value(.steps, default: steps)
    batchSize = try values.value(.batchSize, default: batchSize)
    length = try values.value(.length, default: length)
    learningRate = try values.value(.learningRate, default: learningRate)
    minimumLearningRate = try values.value(
      .minimumLearningRate, default: min(minimumLearningRate, learningRate))
    warmupSteps = try values.value(.warmupSteps, default: min(warmupSteps, steps))
    weightDecay = try values.value(.weightDecay, default: weightDecay)
    beta1 = try values.value(.beta1, default: beta1)
    beta2 = try values.value(.beta2, default: beta2)
    epsilon = try values.value(.epsilon, default: epsilon)
    clipNorm = try values.value(.clipNorm, default: clipNorm)
    precision = try values.value(.precision, default: precision)
    seed = try values.value(.seed, default: seed)
    logInterval = try values.value(.logInterval, default: logInterval)
    validationInterval = try values.value(.validationInterval, default: validationInterval)
    validationTokens = try values.value(.validationTokens, default: validationTokens)
    checkpointInterval = try values.value(.checkpointInterval, default: checkpointInterval)
    keptCheckpoints = try values.value(.keptCheckpoints, default: keptCheckpoints)
    outputDirectory = try values.value(.outputDirectory, default: outputDirectory)
    try validate(path: decoder.codingPath.dotted)
  }

  /// - Throws: `ConfigurationError.invalidValue(_:was:mustBe:)` for the first invalid value.
  public func validate(path: String = "training") throws {
    var check = ValueChecks(section: path)
    check.that(steps, "steps", isAtLeast: 1)
    check.that(
      steps <= Self.mostSteps, "steps", was: "\(steps)", mustBe: "at most \(Self.mostSteps)")
    check.that(batchSize, "batch_size", isAtLeast: 1)
    check.that(length, "length", isAtLeast: 1)
    // Indices in a batch are int32.
    check.that(
      !batchSize.multipliedReportingOverflow(by: length).overflow
        && batchSize * length <= Int(Int32.max), "batch_size times length",
      was: "\(batchSize) times \(length)", mustBe: "at most \(Int32.max)")
    check.that(isPositive: learningRate, "learning_rate")
    check.that(minimumLearningRate, "minimum_learning_rate", isAtLeast: 0)
    check.that(
      minimumLearningRate <= learningRate, "minimum_learning_rate",
      was: "\(minimumLearningRate)", mustBe: "at most learning_rate, \(learningRate)")
    check.that(warmupSteps, "warmup_steps", isAtLeast: 0)
    check.that(weightDecay, "weight_decay", isAtLeast: 0)
    check.that(beta1 >= 0 && beta1 < 1, "beta1", was: "\(beta1)", mustBe: "at least 0, below 1")
    check.that(beta2 >= 0 && beta2 < 1, "beta2", was: "\(beta2)", mustBe: "at least 0, below 1")
    check.that(isPositive: epsilon, "epsilon")
    check.that(isPositive: clipNorm, "clip_norm")
    check.that(seed, "seed", isAtLeast: 0)
    check.that(logInterval, "log_interval", isAtLeast: 1)
    check.that(validationInterval, "validation_interval", isAtLeast: 1)
    check.that(validationTokens, "validation_tokens", isAtLeast: 1)
    check.that(checkpointInterval, "checkpoint_interval", isAtLeast: 1)
    check.that(keptCheckpoints, "kept_checkpoints", isAtLeast: 1)
    check.that(
      !outputDirectory.isEmpty, "output_directory", was: "\"\"", mustBe: "the path of a folder")
    check.that(isPath: outputDirectory, "output_directory")
    try check.finish()
  }
}
