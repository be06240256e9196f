import AttentionCUDA
import AttentionCUDAKernels
import AttentionTensors

/// Sums of what blocks wrote to slots of their own, by `linear/sum_slots.cu`: in the order of the slots,
/// so that the result does not depend on which block was first.
struct SlotSum {
  /// [slots, ...] in a floating-point dtype, contiguous.
  let slots: Tensor
  /// How many neighbouring rows of a slot make one row of the result.
  var group = 1
  var scale = 1.0
  /// As the result: rows that were normalised before use, and get their gradient through that.
  var normalized: Tensor?

  private static let warps = 8

  /// - Parameters:
  ///   - shape: of the result, of rank 3 or 4; the slots have `group` times as many elements each.
  ///   - dtype: of the result.
  ///   - place: memory that the result is wanted in.
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
        slots: slots.deviceAddress(), target: DeviceTokenRows(result),
        source: DeviceTokenRows(normalized), rows: Int64(rows), length: Int64(shape[1]),
        slot_count: Int32(slots.shape[0]), heads: Int32(heads), group: Int32(group),
        width: Int32(shape[shape.rank - 1]), scale: Float(scale),
        epsilon: Float(LinearArguments.normalizationEpsilon), type: slots.dtype.kernelType))
    return result
  }
}
