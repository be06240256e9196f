import FoundationEssentials
import AttentionCLibrary
import AttentionLanguageModels
import AttentionLayers
import AttentionTensors

/// The checkpoints of a run: folders `checkpoint-STEP`, each complete.
///
/// A checkpoint holds the model (`model.safetensors`, `config.json`, and the files of a published one's tokenizer), the
/// optimizer (`optimizer.safetensors`) and the rest of the run's state (`trainer_state.json`). The last of these also
/// identifies a checkpoint of this package: folders without it, whatever their names, are neither resumed
/// from nor replaced nor removed.
public struct CheckpointStore: Sendable {
  /// The run's folder.
  public let folder: String

  private static let prefix = "checkpoint-"
  private static let optimizerFile = "optimizer.safetensors"
  private static let stateFile = "trainer_state.json"
  private static let firstMoment = "first_moment."
  private static let secondMoment = "second_moment."

  public init(folder: String) { self.folder = folder }

  /// The steps of the complete checkpoints, ascending.
  public var steps: [Int] {
    ((try? namedSteps) ?? []).filter(isComplete)
  }

  /// The folder of the checkpoint after `step` steps.
  public func path(step: Int) -> String { folder + "/" + Self.prefix + "\(step)" }

  /// The folder of the latest checkpoint; nil if there is none.
  public var latest: String? { steps.last.map(path(step:)) }

  /// Reads the latest checkpoint. If a training run removes it meanwhile, reads the one that is then the
  /// latest.
  ///
  /// - Parameter read: receives the folder. Files that it has opened stay readable.
  /// - Returns: what `read` returns; nil if there is no checkpoint.
  /// - Throws: the error of `read` for a checkpoint that still exists.
  public func readLatest<Value>(_ read: (String) throws -> Value) throws -> Value? {
    var seen: [Int] = []
    while true {
      let named = (try? namedSteps) ?? []
      guard let step = named.last(where: isComplete) else {
        // They may have been removed since they were listed; then there are newer ones.
        guard named != seen else { return nil }
        seen = named
        continue
      }
      do { return try read(path(step: step)) } catch {
        guard !isComplete(step) || (try? namedSteps) != named else { throw error }
      }
    }
  }

  /// Everything that a run is resumed from.
  struct Snapshot: Sendable {
    var parameters: Parameters
    var optimizer: AdamW.State
    var state: TrainerState

    /// The same with all tensors on `device`.
    func moved(to device: Device) throws -> Snapshot {
      Snapshot(
        parameters: try parameters.moved(to: device), optimizer: try optimizer.moved(to: device),
        state: state)
    }
  }

  /// The steps of the checkpoints that training runs wrote, ascending.
  ///
  /// - Throws: `TensorError.file(path:reason:)` if the run's folder cannot be read.
  var ownSteps: [Int] {
    get throws { try namedSteps.filter { objection(step: $0) == nil } }
  }

  /// Writes a checkpoint, then removes the oldest ones beyond `kept`.
  ///
  /// - Returns: the checkpoint's folder.
  /// - Throws: `TensorError.file(path:reason:)` if writing fails, ``TrainingError/checkpoint(path:reason:)``
  ///   if something else has the name; existing checkpoints are then unharmed.
  func write(_ snapshot: Snapshot, model: TrainedModel, kept: Int) throws -> String {
    let step = snapshot.state.step
    try requirePlace(for: step...step)
    let snapshot = try snapshot.moved(to: .cpu)
    try model.checkpoint(snapshot.parameters).write(to: path(step: step)) { folder in
      try model.copyOtherFiles(to: folder)
      try Safetensors.write(
        Self.named(snapshot.optimizer, by: snapshot.parameters.paths),
        to: folder + "/" + Self.optimizerFile)
      let state = try JSONValue(encoding: snapshot.state).serialized()
      try AtomicFile.write(
        String(decoding: state, as: UTF8.self), to: folder + "/" + Self.stateFile)
    }
    try prune(kept: kept, before: step)
    return path(step: step)
  }

  /// Of the checkpoints before `step`, removes the oldest beyond the latest `kept` of all.
  func prune(kept: Int, before step: Int) throws {
    for old in try ownSteps.dropLast(kept) where old < step {
      try AtomicFolder.removeIfThere(path(step: old))
    }
  }

  /// Reads a checkpoint.
  ///
  /// - Throws: ``TrainingError/checkpoint(path:reason:)`` if it is of another model or damaged; the errors
  ///   of reading its files.
  func read(step: Int, model: TrainedModel) throws -> Snapshot {
    let folder = path(step: step)
    let state = try state(step: step)
    let checkpoint = try Checkpoint(folder: folder)
    guard checkpoint.format == model.format else {
      throw TrainingError.cannotContinue(
        folder, because: "it holds a model of another configuration")
    }
    let file = try SafetensorsFile(path: folder + "/" + Self.optimizerFile)
    func moments(_ prefix: String) throws -> [Tensor] {
      try zip(checkpoint.parameters.paths, checkpoint.parameters.tensors).map { path, parameter in
        let moment = try file.tensor(named: prefix + path)
        guard moment.shape == parameter.shape, moment.dtype == .float32 else {
          throw TrainingError.checkpoint(
            path: folder + "/" + Self.optimizerFile,
            reason: "\(prefix)\(path) is \(moment.dtype.rawValue) \(moment.shape); "
              + "it must be float32 \(parameter.shape)")
        }
        return moment
      }
    }
    return Snapshot(
      parameters: checkpoint.parameters,
      optimizer: AdamW.State(
        step: step, firstMoments: try moments(Self.firstMoment),
        secondMoments: try moments(Self.secondMoment)),
      state: state)
  }

  /// Removes all checkpoints that training runs wrote, the latest first: a run killed meanwhile resumes from
  /// an earlier one.
  func removeAll() throws {
    for step in try ownSteps.reversed() { try AtomicFolder.removeIfThere(path(step: step)) }
  }

  /// Removes what killed runs left while writing or removing: partial checkpoints, and temporary files
  /// named after their process.
  func removeLeftovers() throws {
    try AtomicFolder.removeUnfinished(in: folder) { name in
      name.hasPrefix(Self.prefix) || name.first?.isNumber == true
    }
  }

  /// Checks that a run can write its checkpoints of `steps`.
  ///
  /// - Throws: ``TrainingError/checkpoint(path:reason:)`` if a folder that no run wrote has the name of one.
  func requirePlace(for steps: ClosedRange<Int>) throws {
    for step in try namedSteps where steps.contains(step) {
      guard let objection = objection(step: step) else { continue }
      throw TrainingError.checkpoint(
        path: path(step: step),
        reason: "\(objection), so no run wrote it and it is kept; move it away or choose another "
          + "training.output_directory")
    }
  }

  /// The steps in the names of checkpoints, ascending.
  private var namedSteps: [Int] {
    get throws {
      try AtomicFolder.names(in: folder).compactMap { name in
        guard name.hasPrefix(Self.prefix), let step = Int(name.dropFirst(Self.prefix.count)),
          step >= 1, name == Self.prefix + "\(step)"
        else { return nil }
        return step
      }.sorted()
    }
  }

  /// The part of `trainer_state.json` that identifies it, enough to distinguish it from another program's
  /// file of that name.
  private struct Marker: Decodable {
    let step: Int
    let data: TrainerState.DataIdentity
  }

  /// Whether it holds a complete model.
  private func isComplete(_ step: Int) -> Bool {
    [Checkpoint.configurationFile, Checkpoint.weightsFile].allSatisfy {
      access(path(step: step) + "/" + $0, F_OK) == 0
    }
  }

  /// Why the folder is not a checkpoint written by a training run; nil if it is one.
  private func objection(step: Int) -> String? {
    let text: Data
    do {
      guard let found = try RunFile.read(statePath(step: step)) else {
        return "it has no \(Self.stateFile)"
      }
      text = found
    } catch { return "\(error)" }
    guard let marker = try? JSONDecoder().decode(Marker.self, from: text) else {
      return "its \(Self.stateFile) is not that of a run"
    }
    return marker.step == step ? nil : "it was written after step \(marker.step)"
  }

  /// The run's state in a checkpoint.
  ///
  /// - Throws: ``TrainingError/checkpoint(path:reason:)`` if it is invalid,
  ///   ``TrainingError/notRead(path:reason:)`` if it cannot be read.
  private func state(step: Int) throws -> TrainerState {
    let path = statePath(step: step)
    guard let text = try RunFile.read(path) else {
      throw TrainingError.notRead(path: path, reason: "does not exist")
    }
    let state: TrainerState
    do {
      state = try JSONValue(json5: text, source: Self.stateFile).decoded(as: TrainerState.self)
    } catch {
      throw TrainingError.cannotContinue(path, because: "\(error)")
    }
    if let objection = state.objection {
      throw TrainingError.cannotContinue(path, because: objection)
    }
    return state
  }

  private func statePath(step: Int) -> String { path(step: step) + "/" + Self.stateFile }

  private static func named(
    _ optimizer: AdamW.State, by paths: [String]
  ) -> [(name: String, tensor: Tensor)] {
    zip(paths, optimizer.firstMoments).map { (firstMoment + $0, $1) }
      + zip(paths, optimizer.secondMoments).map { (secondMoment + $0, $1) }
  }
}
