import LanguageModels
import Layers
import Tensors

/// A run in motion: the model, the optimizer, the place in the text, and the step that moves them.
struct TrainingSession {
  let configuration: TrainingConfiguration
  private(set) var snapshot: CheckpointStore.Snapshot
  private var batches: TrainingBatches
  private let optimizer: AdamW
  private let schedule: LearningRateSchedule

  /// A model with fresh parameters.
  init(_ configuration: TrainingConfiguration, corpus: Corpus) throws {
    let scope = ParameterScope(seed: UInt64(configuration.training.seed))
    _ = try LanguageModel(configuration.model, scope: scope)
    let parameters = scope.parameters
    try self.init(
      configuration, corpus: corpus,
      from: CheckpointStore.Snapshot(
        parameters: parameters, optimizer: AdamW.State(for: parameters.tensors),
        state: TrainerState(data: Self.identity(configuration.training, corpus))))
  }

  /// A model that was trained for a while.
  init(
    _ configuration: TrainingConfiguration, corpus: Corpus, from snapshot: CheckpointStore.Snapshot
  ) throws {
    let settings = configuration.training
    self.configuration = configuration
    self.snapshot = snapshot
    batches = try TrainingBatches(
      corpus.training, windowsPerBatch: settings.batchSize, length: settings.length,
      seed: UInt64(settings.seed), position: snapshot.state.position)
    optimizer = AdamW(
      beta1: settings.beta1, beta2: settings.beta2, epsilon: settings.epsilon,
      weightDecay: settings.weightDecay)
    schedule = LearningRateSchedule(
      peak: settings.learningRate, minimum: settings.minimumLearningRate,
      warmupSteps: settings.warmupSteps, steps: settings.steps)
  }

  static func identity(
    _ settings: TrainingSettings, _ corpus: Corpus
  ) -> TrainerState.DataIdentity {
    TrainerState.DataIdentity(
      text: corpus.fingerprint, batchSize: settings.batchSize, length: settings.length,
      seed: settings.seed)
  }

  /// Steps done.
  var step: Int { snapshot.state.step }
  var state: TrainerState { snapshot.state }
  var tokensPerStep: Int { configuration.training.batchSize * configuration.training.length }

  /// One step: loss and gradients of the next batch, clipped, and AdamW.
  ///
  /// - Returns: the loss of the batch in nats a token, before the step.
  /// - Throws: ``TrainingError/diverged(step:loss:gradientNorm:)``.
  mutating func advance() throws -> Double {
    let batch = try batches.next()
    let tracked = snapshot.parameters.tracked()
    let model = try LanguageModel(configuration.model, parameters: tracked)
    let loss = try model.loss(
      tokens: batch.inputs, targets: batch.targets, cumulativeLengths: batch.cumulativeLengths)
    let gradients = try loss.gradients(of: tracked.tensors)
    let value = try loss.item()
    let norm = try GradientNorm.norm(of: gradients)
    guard value.isFinite, norm.isFinite else {
      throw TrainingError.diverged(step: step + 1, loss: value, gradientNorm: norm)
    }
    let update = try optimizer.step(
      snapshot.parameters.tensors, gradients: gradients,
      gradientScale: GradientNorm.clipFactor(norm: norm, limit: configuration.training.clipNorm),
      rate: schedule.rate(at: step), state: snapshot.optimizer)
    snapshot.parameters = try snapshot.parameters.replacing(update.parameters)
    snapshot.optimizer = update.state
    snapshot.state.step += 1
    snapshot.state.position = batches.position
    snapshot.state.group.add(loss: value, gradientNorm: norm)
    return value
  }

  /// Ends the group of steps and puts it on the curve.
  mutating func finishGroup(tokensPerSecond: Double) -> TrainingMetrics {
    let group = snapshot.state.group
    let metrics = TrainingMetrics(
      step: step, loss: group.loss, bitsPerByte: bitsPerByte(nats: group.loss),
      learningRate: schedule.rate(at: step - 1), gradientNorm: group.gradientNorm,
      tokensPerSecond: tokensPerSecond)
    snapshot.state.group = TrainerState.StepGroup()
    snapshot.state.curve.training.append(
      LossCurve.Point(step: step, bitsPerByte: metrics.bitsPerByte))
    return metrics
  }

  /// Measures the model on held-out text and puts the result on the curve.
  mutating func validate(on batches: ValidationBatches) throws -> ValidationMetrics {
    let model = try LanguageModel(configuration.model, parameters: snapshot.parameters)
    var sum = 0.0
    var tokens = 0
    for number in 0..<batches.count {
      let batch = try batches.batch(number)
      let loss = try model.loss(
        tokens: batch.inputs, targets: batch.targets, cumulativeLengths: batch.cumulativeLengths)
      sum += try loss.item() * Double(batch.tokenCount)
      tokens += batch.tokenCount
    }
    let loss = sum / Double(max(1, tokens))
    let metrics = ValidationMetrics(step: step, loss: loss, bitsPerByte: bitsPerByte(nats: loss))
    snapshot.state.curve.validation.append(
      LossCurve.Point(step: step, bitsPerByte: metrics.bitsPerByte))
    return metrics
  }
}
