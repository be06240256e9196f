import AttentionLanguageModels
import AttentionLayers
import AttentionTensors

/// A run's changing state: the model, the optimizer, the position in the text, and the step that advances
/// them.
struct TrainingSession {
  let configuration: TrainingConfiguration
  private let model: TrainedModel
  /// The device that the steps are computed on.
  let device: Device
  private(set) var snapshot: CheckpointStore.Snapshot
  /// The parameters that the model computes with: rounded if the precision is not float32.
  private var rounded: Parameters
  /// Steps whose figures have not been read.
  private var unread: [StepFigures] = []
  private var batches: TrainingBatches
  /// The part of the next step that ``confirm()`` has computed.
  private var next: HalfStep?
  private let optimizer: AdamW
  /// Of the text that is trained on.
  private let bytesPerToken: Double
  private let schedule: LearningRateSchedule

  /// A model with its first parameters.
  init(
    _ configuration: TrainingConfiguration, _ model: TrainedModel, corpus: Corpus, device: Device
  ) throws {
    let parameters = try model.firstParameters(seed: UInt64(configuration.training.seed))
    try self.init(
      configuration, model, corpus: corpus, device: device,
      from: CheckpointStore.Snapshot(
        parameters: parameters, optimizer: AdamW.State(for: parameters.tensors),
        state: TrainerState(data: Self.identity(configuration.training, corpus))))
  }

  /// A model resumed from a checkpoint.
  init(
    _ configuration: TrainingConfiguration, _ model: TrainedModel, corpus: Corpus, device: Device,
    from snapshot: CheckpointStore.Snapshot
  ) throws {
    let settings = configuration.training
    self.configuration = configuration
    self.model = model
    self.device = device
    bytesPerToken = corpus.training.bytesPerToken
    self.snapshot = try snapshot.moved(to: device)
    rounded = try self.snapshot.parameters.mapping { try $0.cast(to: settings.precision.dtype) }
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

  /// A step up to the optimizer.
  private struct HalfStep {
    let figures: StepFigures
    let gradients: [Tensor]
    let clip: GradientClip
    /// Position of the following batch.
    let position: DataPosition
  }

  /// One step: loss and gradients of the next batch, clipped, and AdamW.
  ///
  /// A GPU computes a step while the host prepares the next one: the figures of a step are read once the
  /// following step has been enqueued.
  ///
  /// - Returns: the loss, in nats per token, of the latest step whose figures are known.
  /// - Throws: ``TrainingError/diverged(step:loss:gradientNorm:)`` if a loss or norm is not finite.
  mutating func advance() throws -> Double? {
    let half = try next ?? halfStep()
    next = nil
    unread.append(half.figures)
    // On the CPU they are known at once, so a step that diverges changes nothing.
    let known = device == .cpu ? try settle() : nil
    let update = try optimizer.step(
      snapshot.parameters.tensors, gradients: half.gradients, clip: half.clip,
      rate: schedule.rate(at: step), state: snapshot.optimizer,
      precision: configuration.training.precision)
    snapshot.parameters = try snapshot.parameters.replacing(update.parameters)
    rounded = try rounded.replacing(update.rounded)
    snapshot.optimizer = update.state
    snapshot.state.step += 1
    snapshot.state.position = half.position
    return try known ?? settle(leaving: 1)
  }

  /// Checks that training can go on from the current model: that loss and gradients of the next step are
  /// finite. The next ``advance()`` reuses them, so nothing is computed twice.
  ///
  /// - Throws: ``TrainingError/diverged(step:loss:gradientNorm:)`` if they are not.
  mutating func confirm() throws {
    let half = try next ?? halfStep()
    next = half
    _ = try half.figures.values()
  }

  private mutating func halfStep() throws -> HalfStep {
    let batch = try batches.next()
    let tracked = rounded.tracked()
    let loss = try self.loss(of: batch, tracked)
    let gradients = try loss.gradients(of: tracked.tensors)
    let clip = try GradientClip(of: gradients, limit: configuration.training.clipNorm)
    return HalfStep(
      figures: try StepFigures(step: step + 1, loss: loss, clip: clip), gradients: gradients,
      clip: clip, position: batches.position)
  }

  /// Reads the figures of the steps taken, except for the latest `left` ones.
  ///
  /// - Returns: the loss of the last step read; nil if there was none to read.
  /// - Throws: ``TrainingError/diverged(step:loss:gradientNorm:)`` if a loss or norm is not finite.
  @discardableResult
  mutating func settle(leaving left: Int = 0) throws -> Double? {
    var last: Double?
    while unread.count > left {
      let values = try unread.removeFirst().values()
      snapshot.state.group.add(loss: values.loss, gradientNorm: values.gradientNorm)
      last = values.loss
    }
    return last
  }

  private func loss(of batch: Batch, _ parameters: Parameters) throws -> Tensor {
    try model.model(parameters).loss(
      tokens: batch.inputs, targets: batch.targets, cumulativeLengths: batch.cumulativeLengths)
  }

  /// Ends the group of steps and adds it to the loss curve. All figures must have been read.
  mutating func finishGroup(tokensPerSecond: Double) -> TrainingMetrics {
    let group = snapshot.state.group
    let metrics = TrainingMetrics(
      step: step, loss: group.loss,
      bitsPerByte: bitsPerByte(nats: group.loss, bytesPerToken: bytesPerToken),
      learningRate: schedule.rate(at: step - 1), gradientNorm: group.gradientNorm,
      tokensPerSecond: tokensPerSecond)
    snapshot.state.group = TrainerState.StepGroup()
    snapshot.state.curve.training.append(
      LossCurve.Point(step: step, bitsPerByte: metrics.bitsPerByte))
    return metrics
  }

  /// Measures the model on held-out text and adds the result to the loss curve.
  ///
  /// - Throws: ``TrainingError/validationDiverged(step:loss:)`` if the loss is not finite.
  mutating func validate(on batches: ValidationBatches) throws -> ValidationMetrics {
    var losses: [PendingElements] = []
    var counts: [Int] = []
    for number in 0..<batches.count {
      let batch = try batches.batch(number)
      losses.append(try loss(of: batch, rounded).pendingElements())
      counts.append(batch.tokenCount)
    }
    let sum = try zip(losses, counts).reduce(0.0) { try $0 + $1.0.elements()[0] * Double($1.1) }
    let tokens = counts.reduce(0, +)
    let loss = sum / Double(max(1, tokens))
    guard loss.isFinite else { throw TrainingError.validationDiverged(step: step, loss: loss) }
    let metrics = ValidationMetrics(
      step: step, loss: loss,
      bitsPerByte: bitsPerByte(nats: loss, bytesPerToken: batches.text.bytesPerToken))
    snapshot.state.curve.validation.append(
      LossCurve.Point(step: step, bitsPerByte: metrics.bitsPerByte))
    return metrics
  }
}
