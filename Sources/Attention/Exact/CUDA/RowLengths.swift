import AttentionCUDA
import AttentionCUDAKernels
import AttentionTensors

/// Cosine similarity's normalisation of queries and keys on a device, by `attention/lengths.cu` and, for
/// gradients, `attention/unit_gradient.cu`.
struct RowLengths {
  private static let warps = 8

  private let groups: Int?
  private let dimension: Int
  private let element: FlashElement
  private let operands: FlashOperands

  init(_ inputs: ExactArguments, _ element: FlashElement, _ operands: FlashOperands) {
    groups = inputs.normalizedGroups
    dimension = inputs.problem.keyDimension
    self.element = element
    self.operands = operands
  }

  /// What kernels read in the place of `tensor`: with one slice a row the rows, and the address of the
  /// reciprocals of their lengths; with several, rows whose slices are divided by their lengths. The
  /// address is 0 where there are no lengths.
  func divide(_ tensor: Tensor) throws -> (rows: DeviceRows, reciprocals: UInt64) {
    let pitch = FlashTile.padded(dimension)
    guard let groups else { return (try DeviceRows(tensor, paddedTo: pitch), 0) }
    let source = try tensor.withDenseRows()
    let count = tensor.shape[0] * tensor.shape[1] * tensor.shape[2]
    let unit =
      groups == 1
      ? nil
      : try DeviceRows(
        fresh: tensor.shape, paddedTo: pitch, tensor.dtype, on: tensor.device)
    let reciprocals =
      groups == 1 ? try operands.fresh(count * DType.float32.size, "reciprocal lengths") : 0
    try launch(
      "attention/lengths", source, blocks: count.pieces(of: 2 * Self.warps * Int(lengths_rows)),
      AttentionLengthsParameters(
        rows: .init(source), reciprocals: reciprocals, unit: unit?.place.base ?? 0,
        count: Int64(count), length: Int32(source.shape[1]), heads: Int32(source.shape[2]),
        pitch: Int32(pitch), dimension: Int32(dimension), groups: Int32(groups),
        shortest: Similarity.shortestSlice))
    return (try unit ?? DeviceRows(tensor, paddedTo: pitch), reciprocals)
  }

  /// The gradient of `tensor` from that of what ``divide(_:)`` made of it, whose rows have the padded
  /// pitch.
  func gradient(of tensor: Tensor, from gradient: DeviceRows) throws -> Tensor {
    // With one slice a row the kernel that sums the gradient divides it too.
    guard let groups, groups > 1 else { return try gradient.result(dimension: dimension) }
    let source = try tensor.withDenseRows()
    let result = try Tensor.onDevice(tensor.shape, dtype: .float32, device: tensor.device)
    let count = tensor.shape[0] * tensor.shape[1] * tensor.shape[2]
    try launch(
      "attention/unit_gradient", source, blocks: count.pieces(of: Self.warps),
      AttentionUnitGradientParameters(
        rows: .init(source), gradient: gradient.place.base, result: result.deviceAddress(),
        count: Int64(count), length: Int32(source.shape[1]), heads: Int32(source.shape[2]),
        pitch: Int32(FlashTile.padded(dimension)), dimension: Int32(dimension),
        groups: Int32(groups), shortest: Similarity.shortestSlice))
    return result
  }

  private func launch(
    _ kernel: String, _ source: Tensor, blocks: Int, _ parameters: some BitwiseCopyable
  ) throws {
    try withExtendedLifetime(source) {
      try operands.queue.launch(
        element.kernel(kernel),
        grid: (blocks, 1, 1), threads: Self.warps * warp_threads, parameters)
    }
  }
}
