import AttentionCUDA
import AttentionCUDAKernels
import AttentionTensors

/// The inverses (I + L)⁻¹ of all chunks of a call with the delta rule, which resolve what a chunk's tokens
/// read of one another, by `linear/hopper_inverse.cu`.
struct HopperInverses {
  /// [1, chunks · 64, hv, 64]
  let rows: DeviceRows

  /// - Parameters:
  ///   - keys: [b, t, h, k]
  ///   - normalizes: whether keys are normalised.
  ///   - isOfGradients: whether they are for the backward pass, in which β is never zero.
  ///   - channels: those of decays by channel, whose keys must be passed.
  init(
    _ plan: HopperPlan, keys: Tensor, normalizes: Bool, isOfGradients: Bool,
    channels: HopperChannels? = nil
  ) throws {
    let problem = plan.problem
    let chunk = HopperTile.chunk
    let inverses = try plan.linear.fresh(
      [1, plan.chunks * chunk, problem.valueHeads, chunk], problem.dtype)
    let keyRows = try HopperRows(keys, plan)
    let shape = HopperTile.Shape(
      keyDimension: problem.keyDimension, valueDimension: problem.keyDimension,
      update: problem.update, decays: problem.decay != .none && channels == nil,
      normalizes: normalizes,
      isOfWrites: isOfGradients, channels: channels == nil ? .none : .keys,
      isLowRank: plan.isLowRank)
    let tile = HopperTile(shape, recurrences: 1, multiprocessors: 1)
    try withExtendedLifetime((keyRows, channels)) {
      try plan.queue.launch(
        "linear/hopper_inverse", element: problem.dtype, definitions: tile.definitions,
        isSpecific: true, grid: (plan.recurrences, plan.longest.pieces(of: chunk), 1),
        threads: group_threads, sharedBytes: tile.inverseBytes,
        LinearHopperInverseParameters(
          keys: keyRows.map(on: plan.queue.device),
          erasers: channels?.eraserRows?.map(on: plan.queue.device) ?? TensorMap(),
          operands: plan.operands(slices: 1), levels: Tensor.deviceAddress(channels?.levels),
          inverses: inverses.deviceAddress(),
          key_group: Int32(problem.valueHeads / keys.shape[2])))
    }
    rows = try DeviceRows(inverses, paddedTo: chunk)
  }
}
