import AttentionCLibrary
import AttentionLanguageModels
import AttentionTensors

extension Trainer {
  /// A run that holds its folder.
  struct Run {
    var session: TrainingSession
    let lock: RunLock
    /// Nil if there is no step to take.
    let metrics: MetricsFile?
    /// What the configuration differs in from the one that the run had.
    let changes: [ConfigurationChange]
  }

  /// Prepares the output folder and the first or next step.
  ///
  /// Everything that can be wrong is found before the folder is made or anything in it is changed. The
  /// changes are made in an order in which each can be the last: a run that is killed between any two
  /// of them can be begun again like one that was killed before.
  func begin(_ start: Start) throws -> Run {
    let folder = settings.outputDirectory
    let held = try lockIfThere(folder)
    let latest = held == nil || start == .startOver ? nil : try store.ownSteps.last
    let done = latest ?? 0
    if held != nil, done < settings.steps {
      try store.requirePlace(for: done + 1...settings.steps)
    }
    guard latest != nil || start != .mustContinue else {
      throw TrainingError.checkpoint(
        path: folder, reason: "there is no checkpoint to continue from")
    }
    if done < settings.steps { try MemoryNeed(of: configuration).check(settings, on: device) }
    let session =
      try latest.map(resume(at:))
      ?? TrainingSession(configuration, corpus: corpus, device: device)
    var history = try ConfigurationHistory(folder: folder, before: done)
    try history.take(configuration, after: done)

    let lock = try held ?? makeFolder(folder)
    try store.removeLeftovers()
    if latest == nil {
      try store.removeAll()
    } else {
      // A run that was killed behind its last checkpoint did not come to it.
      try store.prune(kept: settings.keptCheckpoints, before: done)
    }
    var metrics: MetricsFile?
    if done < settings.steps {
      metrics = try MetricsFile(
        path: RunFile.metrics.path(in: folder), continuingAfter: latest)
      try history.write(to: folder)
    }
    // Nor to its picture.
    try draw(session.state.curve)
    return Run(
      session: session, lock: lock, metrics: metrics,
      changes: metrics == nil ? [] : history.changes)
  }

  /// Takes a folder that exists, if it has nothing in the places of a run's files that is none.
  private func lockIfThere(_ folder: String) throws -> RunLock? {
    guard access(folder, F_OK) == 0 else { return nil }
    let lock = try RunLock(folder: folder)
    try RunFile.requireRegular(in: folder)
    // What cannot be read would be lost.
    _ = try RunFile.read(RunFile.metrics.path(in: folder))
    return lock
  }

  /// Makes the folder and takes it.
  private func makeFolder(_ folder: String) throws -> RunLock {
    try AtomicFolder.create(folder)
    let lock = try RunLock(folder: folder)
    // Two runs may have found that there was none.
    guard try store.ownSteps.isEmpty else {
      throw TrainingError.inUse(folder: folder, by: "another run")
    }
    return lock
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
      throw TrainingError.cannotContinue(store.path(step: step), because: difference)
    }
    do {
      return try TrainingSession(configuration, corpus: corpus, device: device, from: snapshot)
    } catch let error as TrainingError {
      throw TrainingError.cannotContinue(store.path(step: step), because: "\(error)")
    }
  }
}
