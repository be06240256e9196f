import CUDA
import FoundationEssentials
import LanguageModels
import Layers
import Tensors

/// Trains a language model on text, with checkpoints from which a run continues bit for bit.
///
///     let configuration = try TrainingConfiguration(file: "tiny.json5")
///     let trainer = try Trainer(configuration, relativeTo: "Examples")
///     let result = try trainer.run()
///     print(result.lastLine)  // validation 2.31 bits per byte
///
/// In the output folder lie `checkpoint-STEP` folders, `metrics.jsonl`, `loss.svg` and
/// `configuration.json`, the configuration as it was used.
public struct Trainer: Sendable {
  public let configuration: TrainingConfiguration
  public let corpus: Corpus
  /// Where the model is trained.
  public let device: Device

  /// Reads the text.
  ///
  /// - Parameters:
  ///   - configuration: checked before anything is read.
  ///   - folder: what relative paths in `data` are taken from.
  ///   - device: where the model is trained. The same seed gives the same weights and batches on
  ///     every device, and a run may be continued on another one.
  /// - Throws: `ConfigurationError.invalidValue(_:was:mustBe:)`,
  ///   ``TrainingError/text(path:reason:)``.
  public init(
    _ configuration: TrainingConfiguration, relativeTo folder: String, device: Device = .cpu
  ) throws {
    try configuration.model.validate(path: [TrainingConfiguration.CodingKeys.model])
    guard configuration.model.vocabularySize >= ByteTokenizer.vocabularySize else {
      throw ConfigurationError.invalidValue(
        "model.vocabulary_size", was: "\(configuration.model.vocabularySize)",
        mustBe: "at least \(ByteTokenizer.vocabularySize), one token a byte")
    }
    try configuration.data.validate()
    try configuration.training.validate()
    try configuration.sample.validate()
    self.configuration = configuration
    self.device = device
    let documents = try TextFiles.documents(
      at: configuration.data.paths, extensions: configuration.data.extensions, relativeTo: folder)
    corpus = try Corpus(documents, validationFraction: configuration.data.validationFraction)
  }

  /// What to do about checkpoints that the output folder already has.
  public enum Start: Sendable {
    /// Continue from the latest, if there is one.
    case continueIfPossible
    /// Continue from the latest; it is an error if there is none.
    case mustContinue
    /// Remove them.
    case startOver
  }

  private var settings: TrainingSettings { configuration.training }
  private var store: CheckpointStore { CheckpointStore(folder: settings.outputDirectory) }

  /// Trains until all steps are done, or until asked to stop.
  ///
  /// - Parameters:
  ///   - start: what to do about checkpoints of an earlier run.
  ///   - stopAfter: stop with a checkpoint after this step, if it comes before the last.
  ///   - report: told what happens.
  ///   - shouldStop: asked after each step; true stops with a checkpoint.
  /// - Throws: ``TrainingError``, and the errors of the model and of writing files.
  public func run(
    start: Start = .continueIfPossible, stopAfter: Int? = nil,
    report: (TrainingEvent) -> Void = { _ in }, shouldStop: () -> Bool = { false }
  ) throws -> TrainingResult {
    var session = try begin(start)
    let metrics = try MetricsFile(
      path: settings.outputDirectory + "/metrics.jsonl",
      continuingAfter: session.step > 0 ? session.step : nil)
    report(.started(summary(of: session), step: session.step))
    let validation = ValidationBatches(
      corpus.validation, windowsPerBatch: settings.batchSize, length: settings.length,
      tokens: settings.validationTokens)
    var pace = Pace(firstStep: session.step)
    var checkpoint = session.step > 0 ? store.path(step: session.step) : nil

    while session.step < settings.steps {
      let step = session.step + 1
      let isLast = step == settings.steps
      let endsGroup = isLast || step % settings.logInterval == 0
      try pace.measure(tokens: session.tokensPerStep) {
        let loss = try session.advance()
        // Steps that are still under way belong to the group's time.
        return try endsGroup ? session.settle() ?? loss : loss
      }
      let stops = shouldStop() || step == stopAfter
      report(
        .stepped(pace.progress(step: step, of: settings.steps, memoryBytes: peakBytes)))
      if endsGroup {
        let line = session.finishGroup(tokensPerSecond: pace.finishGroup())
        try metrics.append(line)
        report(.metrics(line))
      }
      if isLast || step % settings.validationInterval == 0 {
        let line = try session.validate(on: validation)
        try metrics.append(line)
        report(.validated(line))
      }
      if isLast || stops || step % settings.checkpointInterval == 0 {
        let path = try save(&session)
        checkpoint = path
        report(.savedCheckpoint(path: path))
      }
      if stops {
        if !isLast { report(.stopped(step: step, steps: settings.steps)) }
        break
      }
    }
    // A run that was stopped further than it is now asked to go may lack its last figure.
    if session.step >= settings.steps,
      session.state.curve.validation.last?.step != session.step
    {
      report(.validated(try session.validate(on: validation)))
    }
    return TrainingResult(
      step: session.step, isComplete: session.step >= settings.steps, checkpoint: checkpoint,
      picture: picturePath, curve: session.state.curve)
  }

  /// The most memory that tensors took at a time.
  private var peakBytes: Int {
    (try? DeviceQueue.shared(for: device))?.device.ledger.peakBytes ?? MemoryPool.peakBytes
  }

  private var picturePath: String { settings.outputDirectory + "/loss.svg" }

  /// Prepares the output folder and the first or next step.
  private func begin(_ start: Start) throws -> TrainingSession {
    let folder = settings.outputDirectory
    let latest = start == .startOver ? nil : store.steps.last
    let session: TrainingSession
    if let latest {
      session = try resume(at: latest)
    } else {
      guard start != .mustContinue else {
        throw TrainingError.checkpoint(
          path: folder, reason: "there is no checkpoint to continue from")
      }
      session = try TrainingSession(configuration, corpus: corpus, device: device)
    }
    // Only now that nothing can be wrong with the arguments.
    try AtomicFolder.create(folder)
    try AtomicFolder.removeUnfinished(in: folder)
    if latest == nil { try store.removeAll() }
    let written = try JSONValue(encoding: configuration).serialized()
    try AtomicFile.write(
      String(decoding: written, as: UTF8.self), to: folder + "/configuration.json")
    return session
  }

  private func resume(at step: Int) throws -> TrainingSession {
    let snapshot = try store.read(step: step, model: configuration.model)
    let (own, saved) = (TrainingSession.identity(settings, corpus), snapshot.state.data)
    let difference =
      if own.text != saved.text {
        "the text has changed"
      } else if own.batchSize != saved.batchSize {
        "training.batch_size was \(saved.batchSize)"
      } else if own.length != saved.length {
        "training.length was \(saved.length)"
      } else if own.seed != saved.seed {
        "training.seed was \(saved.seed)"
      } else {
        String?.none
      }
    if let difference {
      throw TrainingError.checkpoint(
        path: store.path(step: step),
        reason: "the run cannot be continued, \(difference); "
          + "start over or choose another training.output_directory")
    }
    return try TrainingSession(configuration, corpus: corpus, device: device, from: snapshot)
  }

  private func save(_ session: inout TrainingSession) throws -> String {
    try session.settle()
    let path = try store.write(
      session.snapshot, model: configuration.model, kept: settings.keptCheckpoints)
    try AtomicFile.write(session.state.curve.svg(title: "Loss"), to: picturePath)
    return path
  }

  private func summary(of session: TrainingSession) -> RunSummary {
    RunSummary(
      steps: settings.steps, parameterCount: session.snapshot.parameters.count,
      trainingBytes: corpus.training.bytes.count,
      trainingDocuments: corpus.training.documentCount,
      validationBytes: corpus.validation.bytes.count,
      validationDocuments: corpus.validation.documentCount,
      outputDirectory: settings.outputDirectory)
  }
}
