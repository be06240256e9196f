import AttentionCUDA
import AttentionCUDAKernels
import AttentionTensors

/// Sums of shares that blocks wrote to their slots, by `linear/sum_slots.cu`: in the order of the slots, so
/// that the result is deterministic.
struct SlotSum {
  /// [slots, ...] in a floating-point dtype, contiguous.
  let slots: Tensor
  /// The number of adjacent rows of a slot that are summed to one row of the result.
  var group = 1
  var scale = 1.0
  /// In the shape of the result: rows before normalisation, through which the sum is backpropagated.
  var normalized: Tensor?

  private static let warps = 8

  /// - Parameters:
  ///   - shape: that of the result, of rank 3 or 4; each slot has `group` times as many elements.
  ///   - dtype: that of the result.
  ///   - place: the caller's memory for the result.
  func run(_ shape: Shape, _ dtype: DType, _ queue: DeviceQueue, into place: Tensor? = nil) throws
    -> Tensor
  {
    let result = try Tensor.onDevice(shape, dtype: dtype, device: slots.device, into: place)
    guard shape.elementCount > 0 else { return result }
    let heads = shape.rank == 4 ? shape[2] : 1
    let rows = shape[0] * shape[1]
    try queue.launch(
      "linear/sum_slots", blocks: (rows * heads).pieces(of: Self.warps),
      threads: Self.warps * warp_threads,
      LinearSumSlotsParameters(
        slots: slots.deviceAddress(), target: LinearRows(result),
        source: LinearRows(normalized), rows: Int64(rows), length: Int64(shape[1]),
        slot_count: Int32(slots.shape[0]), heads: Int32(heads), group: Int32(group),
        width: Int32(shape[shape.rank - 1]), scale: Float(scale),
        epsilon: Float(LinearArguments.normalizationEpsilon), type: slots.dtype.kernelType))
    return result
  }
}
