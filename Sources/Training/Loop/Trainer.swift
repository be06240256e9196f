import AttentionCUDA
import FoundationEssentials
import AttentionLanguageModels
import AttentionLayers
import AttentionTensors

/// Trains a language model on text, with checkpoints from which a run resumes bit for bit.
///
///     let configuration = try TrainingConfiguration(file: "tiny.json5")
///     let trainer = try Trainer(configuration, relativeTo: "Examples")
///     let result = try trainer.run()
///     print(result.lastLine)  // validation 2.31 bits per byte
///
/// The output folder contains `checkpoint-STEP` folders, `metrics.jsonl`, `loss.svg`, the current
/// configuration as `configuration.json`, and all that the run has had in `configurations.jsonl`. A run
/// locks the folder while it lasts; a second one is refused.
public struct Trainer: Sendable {
  public let configuration: TrainingConfiguration
  public let corpus: Corpus
  /// The device that the model is trained on.
  public let device: Device
  let model: TrainedModel

  /// Reads the text, and what the folder of a model says of it.
  ///
  /// - Parameters:
  ///   - configuration: validated before anything is read.
  ///   - folder: the folder that relative paths in `data` and `model.folder` start at.
  ///   - device: the device to train on. The same seed gives the same weights and batches on every device,
  ///     and a run may be resumed on another one.
  /// - Throws: `ConfigurationError.invalidValue(_:was:mustBe:)` for an invalid configuration,
  ///   ``TrainingError/text(path:reason:)`` if the text cannot be read, `CheckpointError`, `TokenizerError` and
  ///   others if the model's folder cannot.
  public init(
    _ configuration: TrainingConfiguration, relativeTo folder: String, device: Device = .cpu
  ) throws {
    try configuration.model.validate(path: [TrainingConfiguration.CodingKeys.model])
    try configuration.data.validate()
    try configuration.training.validate()
    try configuration.sample.validate()
    model = try TrainedModel(configuration.model, relativeTo: folder)
    self.configuration = configuration
    self.device = device
    let documents = try TextFiles.documents(
      at: configuration.data.paths, extensions: configuration.data.extensions, relativeTo: folder)
    corpus = try Corpus(
      documents, validationFraction: configuration.data.validationFraction,
      tokenizer: model.tokenizer)
  }

  /// What to do with checkpoints already in the output folder.
  public enum Start: Sendable {
    /// Resume from the latest, if there is one.
    case continueIfPossible
    /// Resume from the latest; having none is an error.
    case mustContinue
    /// Remove them.
    case startOver
  }

  var settings: TrainingSettings { configuration.training }
  var store: CheckpointStore { CheckpointStore(folder: settings.outputDirectory) }

  /// Trains until all steps are done, or until told to stop.
  ///
  /// - Parameters:
  ///   - start: what to do with checkpoints of an earlier run.
  ///   - stopAfter: stop with a checkpoint after this step, if it comes before the last.
  ///   - report: receives the events of the run.
  ///   - shouldStop: called after each step; true stops with a checkpoint.
  /// - Throws: ``TrainingError``; the errors of the model and of writing files.
  public func run(
    start: Start = .continueIfPossible, stopAfter: Int? = nil,
    report: (TrainingEvent) -> Void = { _ in }, shouldStop: () -> Bool = { false }
  ) throws -> TrainingResult {
    var run = try begin(start)
    // The lock is held to the end.
    defer { withExtendedLifetime(run.lock) {} }
    report(.started(summary(of: run.session), step: run.session.step))
    if !run.lock.isExclusive { report(.unlocked(folder: settings.outputDirectory)) }
    if !run.changes.isEmpty { report(.changed(run.changes)) }
    let validation = ValidationBatches(
      corpus.validation, windowsPerBatch: settings.batchSize, length: settings.length,
      tokens: settings.validationTokens)
    var pace = Pace(
      firstStep: run.session.step, bytesPerToken: corpus.training.bytesPerToken)
    var checkpoint = run.session.step > 0 ? store.path(step: run.session.step) : nil

    while run.session.step < settings.steps {
      let step = run.session.step + 1
      let isLast = step == settings.steps
      let endsGroup = isLast || step % settings.logInterval == 0
      try pace.measure(tokens: run.session.tokensPerStep) {
        let loss = try run.session.advance()
        // Pending steps belong to the group's time.
        return try endsGroup ? run.session.settle() ?? loss : loss
      }
      let stops = shouldStop() || step == stopAfter
      report(
        .stepped(pace.progress(step: step, of: settings.steps, memoryBytes: peakBytes)))
      if endsGroup {
        let line = run.session.finishGroup(tokensPerSecond: pace.finishGroup())
        try run.metrics?.append(line)
        report(.metrics(line))
      }
      if isLast || step % settings.validationInterval == 0 {
        let line = try run.session.validate(on: validation)
        try run.metrics?.append(line)
        report(.validated(line))
      }
      if isLast || stops || step % settings.checkpointInterval == 0 {
        // A model that makes the next step diverge must not replace a good checkpoint.
        if !isLast { try pace.measureAhead { try run.session.confirm() } }
        let path = try save(&run.session)
        checkpoint = path
        report(.savedCheckpoint(path: path))
      }
      if stops {
        if !isLast { report(.stopped(step: step, steps: settings.steps)) }
        break
      }
    }
    // A run stopped beyond the number of steps now configured may lack its final validation.
    if run.session.step >= settings.steps,
      run.session.state.curve.validation.last?.step != run.session.step
    {
      report(.validated(try run.session.validate(on: validation)))
    }
    return TrainingResult(
      step: run.session.step, isComplete: run.session.step >= settings.steps,
      checkpoint: checkpoint, picture: picturePath, curve: run.session.state.curve)
  }

  /// The most memory held by tensors at once.
  private var peakBytes: Int {
    (try? DeviceQueue.shared(for: device))?.device.ledger.peakBytes ?? MemoryPool.peakBytes
  }

  private var picturePath: String { RunFile.picture.path(in: settings.outputDirectory) }

  private func save(_ session: inout TrainingSession) throws -> String {
    try session.settle()
    let path = try store.write(
      session.snapshot, model: model, kept: settings.keptCheckpoints)
    try draw(session.state.curve)
    return path
  }

  /// Draws the loss curve.
  func draw(_ curve: LossCurve) throws {
    try RunFile.picture.update(curve.svg(title: "Loss"), in: settings.outputDirectory)
  }

  private func summary(of session: TrainingSession) -> RunSummary {
    RunSummary(
      steps: settings.steps, parameterCount: session.snapshot.parameters.count,
      trainingBytes: corpus.training.byteCount,
      trainingTokens: corpus.training.tokenCount,
      trainingDocuments: corpus.training.documentCount,
      validationBytes: corpus.validation.byteCount,
      validationTokens: corpus.validation.tokenCount,
      validationDocuments: corpus.validation.documentCount,
      outputDirectory: settings.outputDirectory)
  }
}
