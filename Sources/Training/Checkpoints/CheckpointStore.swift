import FoundationEssentials
import LanguageModels
import Layers
import Tensors

/// The checkpoints of a run: folders `checkpoint-STEP`, each complete.
///
/// A checkpoint holds the model (`model.safetensors`, `config.json`), the optimizer
/// (`optimizer.safetensors`) and everything else that continues the run (`trainer_state.json`).
public struct CheckpointStore: Sendable {
  /// The run's folder.
  public let folder: String

  private static let prefix = "checkpoint-"
  private static let optimizerFile = "optimizer.safetensors"
  private static let stateFile = "trainer_state.json"
  private static let firstMoment = "first_moment."
  private static let secondMoment = "second_moment."

  public init(folder: String) { self.folder = folder }

  /// The steps of the checkpoints that there are, ascending.
  public var steps: [Int] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    return names.compactMap { name in
      name.hasPrefix(Self.prefix) ? Int(name.dropFirst(Self.prefix.count)) : nil
    }.sorted()
  }

  /// The folder of the checkpoint after `step` steps.
  public func path(step: Int) -> String { folder + "/" + Self.prefix + "\(step)" }

  /// The folder of the latest checkpoint, if there is one.
  public var latest: String? { steps.last.map(path(step:)) }

  /// Everything a run is continued from.
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

  /// Writes a checkpoint, and then removes the oldest ones beyond `kept`.
  ///
  /// - Returns: the checkpoint's folder.
  /// - Throws: `TensorError.file(path:reason:)`; the checkpoints that there were are then unharmed.
  func write(_ snapshot: Snapshot, model: LanguageModelConfiguration, kept: Int) throws -> String {
    let step = snapshot.state.step
    let snapshot = try snapshot.moved(to: .cpu)
    let checkpoint = Checkpoint(configuration: model, parameters: snapshot.parameters)
    try checkpoint.write(to: path(step: step)) { folder in
      try Safetensors.write(
        Self.named(snapshot.optimizer, by: snapshot.parameters.paths),
        to: folder + "/" + Self.optimizerFile)
      let state = try JSONValue(encoding: snapshot.state).serialized()
      try AtomicFile.write(
        String(decoding: state, as: UTF8.self), to: folder + "/" + Self.stateFile)
    }
    for old in steps.dropLast(kept) where old < step {
      try AtomicFolder.removeIfThere(path(step: old))
    }
    return path(step: step)
  }

  /// Reads a checkpoint.
  ///
  /// - Throws: ``TrainingError/checkpoint(path:reason:)`` if it is of another model or damaged, and
  ///   the errors of reading its files.
  func read(step: Int, model: LanguageModelConfiguration) throws -> Snapshot {
    let folder = path(step: step)
    let checkpoint = try Checkpoint(folder: folder)
    guard checkpoint.configuration == model else {
      throw TrainingError.checkpoint(
        path: folder, reason: "it holds a model of another configuration")
    }
    let state = try JSONValue(json5File: folder + "/" + Self.stateFile)
      .decoded(as: TrainerState.self)
    guard state.step == step else {
      throw TrainingError.checkpoint(
        path: folder, reason: "it was written after step \(state.step)")
    }
    let file = try SafetensorsFile(path: folder + "/" + Self.optimizerFile)
    let paths = checkpoint.parameters.paths
    return Snapshot(
      parameters: checkpoint.parameters,
      optimizer: AdamW.State(
        step: step,
        firstMoments: try paths.map { try file.tensor(named: Self.firstMoment + $0) },
        secondMoments: try paths.map { try file.tensor(named: Self.secondMoment + $0) }),
      state: state)
  }

  /// Removes all checkpoints.
  func removeAll() throws {
    for step in steps { try AtomicFolder.removeIfThere(path(step: step)) }
  }

  private static func named(
    _ optimizer: AdamW.State, by paths: [String]
  ) -> [(name: String, tensor: Tensor)] {
    zip(paths, optimizer.firstMoments).map { (firstMoment + $0, $1) }
      + zip(paths, optimizer.secondMoments).map { (secondMoment + $0, $1) }
  }
}
