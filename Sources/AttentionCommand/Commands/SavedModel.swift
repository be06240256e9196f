import AttentionLanguageModels
import AttentionTensors
import AttentionTraining

/// A model named by the folder of a checkpoint or of a run.
enum SavedModel {
  /// The model of a checkpoint, or of the latest one of a run.
  static func read(_ folder: String, on device: Device) throws -> LanguageModel {
    let saved =
      try CheckpointStore(folder: folder).readLatest(Checkpoint.init(folder:))
      ?? Checkpoint(folder: folder)
    return try saved.moved(to: device).model()
  }
}
