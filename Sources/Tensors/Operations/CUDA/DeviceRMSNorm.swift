import AttentionCUDA
import AttentionCUDAKernels

/// ``Tensor/rmsNorm(weight:epsilon:)`` on a device, in one pass over the rows each way.
struct DeviceRMSNorm {
  /// Float32 or half precision, contiguous, [..., n].
  private let x: Tensor
  /// [n], or nil where every number is multiplied by ``factor``.
  private let weight: Tensor?
  private let factor: Float
  private let epsilon: Float

  private var n: Int { x.shape[x.rank - 1] }
  private var rows: Int { teams.rows }
  private var teams: RowTeams { RowTeams(of: x) }

  init(_ x: Tensor, weight: Tensor?, factor: Float = 1, epsilon: Float) throws {
    self.x = try x.detached().contiguous()
    self.weight = try weight?.detached().contiguous()
    self.factor = factor
    self.epsilon = epsilon
  }

  /// The longest rows: the sums of a block's teams, a number a column each, must fit in the shared
  /// memory that every device has.
  static let longestRow = (48 << 10 - RowTeams.sharedBytes) / DType.float32.size

  /// What the operation gives, with 1 / √(mean(x²) + ε) of each row.
  struct Result {
    let y: Tensor
    let reciprocals: Tensor
  }

  func run() throws -> Result {
    let result = Result(
      y: try .onDevice(x.shape, dtype: x.dtype, device: x.device),
      reciprocals: try .onDevice([rows], dtype: .float32, device: x.device))
    try teams.launch(
      "layers/rms_norm", x.dtype, on: x.device, keeping: [x, weight, result.y, result.reciprocals],
      LayersRMSNormParameters(
        x: x.deviceAddress(), weight: weight?.deviceAddress() ?? 0, y: result.y.deviceAddress(),
        reciprocals: result.reciprocals.deviceAddress(), rows: Int64(rows), n: Int32(n),
        weight_type: weight?.dtype.kernelType ?? 0, row_threads: Int32(teams.rowThreads),
        epsilon: epsilon, factor: factor))
    return result
  }

  /// The gradients of operand and weight. The weight's is summed in blocks of rows that depend on the
  /// shape only.
  fileprivate func gradients(_ gradient: Tensor, _ reciprocals: Tensor) throws -> [Tensor?] {
    let gradient = try gradient.contiguous()
    // Enough blocks for every device, few enough that adding up their sums costs little.
    let mostBlocks = 512
    let blockRows = max(teams.rowsPerBlock, rows.pieces(of: mostBlocks))
    let blocks = rows.pieces(of: blockRows)
    let xGradient = try Tensor.onDevice(x.shape, dtype: x.dtype, device: x.device)
    let partial = try weight.map { _ in
      try Tensor.onDevice([blocks, n], dtype: .float32, device: x.device)
    }
    if x.elementCount > 0 {
      let sums = weight == nil ? 0 : teams.rowsPerBlock * n * DType.float32.size
      try withExtendedLifetime([x, weight, reciprocals, gradient, xGradient, partial]) {
        try DeviceQueue.shared(for: x.device).launch(
          "layers/rms_norm_backward", element: x.dtype, blocks: blocks,
          threads: RowTeams.threads, sharedBytes: sums + RowTeams.sharedBytes,
          LayersRMSNormBackwardParameters(
            x: x.deviceAddress(), weight: weight?.deviceAddress() ?? 0,
            reciprocals: reciprocals.deviceAddress(), gradient: gradient.deviceAddress(),
            x_gradient: xGradient.deviceAddress(), partial: partial?.deviceAddress() ?? 0,
            rows: Int64(rows), n: Int32(n), weight_type: weight?.dtype.kernelType ?? 0,
            row_threads: Int32(teams.rowThreads), block_rows: Int32(blockRows), factor: factor))
      }
    }
    let dtype = weight?.dtype ?? .float32
    return [xGradient, try partial?.sum([0]).cast(to: dtype)]
  }

  /// The same from recorded operations.
  fileprivate func recordedGradients(
    _ gradient: Tensor, _ history: OperationHistory
  ) throws -> [Tensor?] {
    let number = try Tensor.full([], Double(factor))
    return try history.gradients(at: [x] + (weight.map { [$0] } ?? []), seed: gradient) {
      try $0[0].plainRMSNorm(weight == nil ? number : $0[1], Double(epsilon))
    }
  }
}

extension Tensor {
  /// ``rmsNorm(weight:epsilon:)`` on a device; without a weight every number is multiplied by `factor`.
  func deviceRMSNorm(weight: Tensor?, factor: Float = 1, epsilon: Float) throws -> Tensor {
    let norm = try DeviceRMSNorm(self, weight: weight, factor: factor, epsilon: epsilon)
    let result = try norm.run()
    let weighted = weight != nil
    return result.y.recorded(from: [self] + (weight.map { [$0] } ?? [])) { gradient, history in
      if history.isRecorded { return try norm.recordedGradients(gradient, history) }
      let gradients = try norm.gradients(gradient, result.reciprocals)
      return weighted ? gradients : [gradients[0]]
    }
  }
}
