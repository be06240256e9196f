import AttentionLanguageModels
import AttentionLayers
import AttentionTensors

/// The memory that a run needs at least, known before it starts: a run that certainly does not fit is
/// refused with a message, instead of being killed by the system without one.
///
/// It is a lower bound. What else a step takes depends on the kernels.
struct MemoryNeed {
  /// Parameters, their gradients and the optimizer's two moments, float32.
  private static let copies = 4

  let parameterBytes: Int
  let tokenBytes: Int

  init(of configuration: TrainingConfiguration) throws {
    let scope = ParameterScope.shapes()
    _ = try LanguageModel(configuration.model, scope: scope)
    parameterBytes = scope.parameters.count * MemoryLayout<Float>.size
    let settings = configuration.training
    let model = configuration.model
    // The token and its target; the input of each layer, kept for its gradients.
    let each =
      2 * MemoryLayout<Int32>.size
      + model.layers.layers.count * model.hiddenSize * settings.precision.dtype.size
    let (bytes, overflows) = (settings.batchSize * settings.length)
      .multipliedReportingOverflow(by: each)
    tokenBytes = overflows ? .max / 2 : bytes
  }

  /// Throws ``TrainingError/outOfMemory(_:neededBytes:availableBytes:)`` if the machine does not have that
  /// much. A run on a GPU only draws and saves its parameters in host memory.
  func check(_ settings: TrainingSettings, on device: Device) throws {
    guard device == .cpu else {
      return try MemoryLimit.require(parameterBytes, "the model's parameters need")
    }
    try MemoryLimit.require(
      Self.copies * parameterBytes, "the model, its gradients and the optimizer's moments need")
    try MemoryLimit.require(
      Self.copies * parameterBytes + tokenBytes,
      "a step with training.batch_size \(settings.batchSize) and training.length "
        + "\(settings.length) needs")
  }
}
