import AttentionCLibrary
import AttentionLanguageModels
import AttentionTensors

extension Trainer {
  /// A run that holds the lock on its folder.
  struct Run {
    var session: TrainingSession
    let lock: RunLock
    /// Nil if there are no steps left.
    let metrics: MetricsFile?
    /// The differences from the configuration that the run had before.
    let changes: [ConfigurationChange]
  }

  /// Prepares the output folder and the first or next step.
  ///
  /// All errors are found before the folder is created or anything in it changes. The changes are ordered so
  /// that a run killed between any two of them can be started again like one that was killed before them.
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
        path: folder, reason: "there is no checkpoint to resume from")
    }
    if done < settings.steps { try MemoryNeed(of: model, settings).check(settings, on: device) }
    let session =
      try latest.map(resume(at:))
      ?? TrainingSession(configuration, model, corpus: corpus, device: device)
    var history = try ConfigurationHistory(folder: folder, before: done)
    try history.take(configuration, after: done)

    let lock = try held ?? makeFolder(folder)
    try store.removeLeftovers()
    if latest == nil {
      try store.removeAll()
    } else {
      // A run killed right after writing its last checkpoint did not remove the older ones.
      try store.prune(kept: settings.keptCheckpoints, before: done)
    }
    var metrics: MetricsFile?
    if done < settings.steps {
      metrics = try MetricsFile(
        path: RunFile.metrics.path(in: folder), continuingAfter: latest)
      try history.write(to: folder)
    }
    // Nor did it redraw its loss curve.
    try draw(session.state.curve)
    return Run(
      session: session, lock: lock, metrics: metrics,
      changes: metrics == nil ? [] : history.changes)
  }

  /// Locks an existing folder, after checking that the names of a run's files are free or theirs.
  private func lockIfThere(_ folder: String) throws -> RunLock? {
    guard access(folder, F_OK) == 0 else { return nil }
    let lock = try RunLock(folder: folder)
    try RunFile.requireRegular(in: folder)
    // A log that cannot be read would be lost.
    _ = try RunFile.read(RunFile.metrics.path(in: folder))
    return lock
  }

  /// Creates and locks the folder.
  private func makeFolder(_ folder: String) throws -> RunLock {
    try AtomicFolder.create(folder)
    let lock = try RunLock(folder: folder)
    // Another run may have created it at the same time.
    guard try store.ownSteps.isEmpty else {
      throw TrainingError.inUse(folder: folder, by: "another run")
    }
    return lock
  }

  private func resume(at step: Int) throws -> TrainingSession {
    let snapshot = try store.read(step: step, model: model)
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
      return try TrainingSession(
        configuration, model, corpus: corpus, device: device, from: snapshot)
    } catch let error as TrainingError {
      throw TrainingError.cannotContinue(store.path(step: step), because: "\(error)")
    }
  }
}
