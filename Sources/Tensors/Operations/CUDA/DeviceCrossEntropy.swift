import AttentionCUDA
import AttentionCUDAKernels

/// The losses of rows of logits on a device, and the gradients of the logits.
struct DeviceCrossEntropy {
  /// Float32 or half precision, contiguous, [rows, classes].
  private let logits: Tensor
  /// Int32 [rows], contiguous, on the same device.
  private let targets: Tensor
  /// Whether a negative target makes its row count for nothing. Other targets that are no class give
  /// NaN.
  private let skipsNegative: Bool

  private var teams: RowTeams { RowTeams(of: logits) }

  init(_ logits: Tensor, _ targets: Tensor, skipsNegative: Bool = false) throws {
    self.logits = try logits.detached().contiguous()
    self.targets = try targets.detached().contiguous()
    self.skipsNegative = skipsNegative
  }

  /// The losses, and what the gradients need of them.
  func losses() throws -> Tensor.RowLosses {
    let result = try results()
    try launch(losses: result.losses, logSums: result.logSums)
    return result
  }

  /// The losses, and in place of the logits their gradients, where that of each loss is `gradient`, a
  /// float32 number on the device. Nobody else may have the logits.
  func lossesReplacingLogits(gradient: Tensor) throws -> (losses: Tensor, gradients: Tensor) {
    let result = try results()
    try launch(
      losses: result.losses, logSums: result.logSums, gradient: gradient, gradients: logits)
    return (result.losses, logits)
  }

  /// The gradients of the logits, given those of the losses, [rows].
  func gradients(_ rowGradients: Tensor, logSums: Tensor) throws -> Tensor {
    let gradients = try Tensor.onDevice(
      logits.shape, dtype: logits.dtype, device: logits.device)
    try launch(
      logSums: logSums, rowGradients: rowGradients.detached().contiguous(), gradients: gradients)
    return gradients
  }

  /// The same of the operation that `history` is of, from recorded operations.
  fileprivate func recordedGradients(
    _ rowGradients: Tensor, _ history: OperationHistory
  ) throws -> [Tensor?] {
    try history.gradients(at: [logits], seed: rowGradients) {
      try $0[0].cast(to: .float32).plainCrossEntropy(targets)
    }
  }

  private func results() throws -> Tensor.RowLosses {
    Tensor.RowLosses(
      losses: try .onDevice([teams.rows], dtype: .float32, device: logits.device),
      logSums: try .onDevice([teams.rows, 2], dtype: .float32, device: logits.device))
  }

  private func launch(
    losses: Tensor? = nil, logSums: Tensor, rowGradients: Tensor? = nil, gradient: Tensor? = nil,
    gradients: Tensor? = nil
  ) throws {
    try teams.launch(
      "layers/cross_entropy", logits.dtype, on: logits.device,
      keeping: [logits, targets, losses, logSums, rowGradients, gradient, gradients],
      LayersCrossEntropyParameters(
        logits: logits.deviceAddress(), targets: targets.deviceAddress(),
        losses: losses?.deviceAddress() ?? 0, log_sums: logSums.deviceAddress(),
        row_gradients: rowGradients?.deviceAddress() ?? 0,
        gradient: gradient?.deviceAddress() ?? 0, logit_gradients: gradients?.deviceAddress() ?? 0,
        rows: Int64(teams.rows), n: Int32(teams.length), row_threads: Int32(teams.rowThreads),
        skips_negative: skipsNegative ? 1 : 0))
  }
}

extension Tensor {
  /// ``crossEntropy(_:)`` of float32 or half precision on a device.
  func deviceCrossEntropy(_ targets: Tensor) throws -> Tensor {
    let rows = try DeviceCrossEntropy(self, targets)
    let result = try rows.losses()
    return result.losses.recorded(from: [self]) { gradient, history in
      if history.isRecorded { return try rows.recordedGradients(gradient, history) }
      return [try rows.gradients(gradient, logSums: result.logSums)]
    }
  }
}
