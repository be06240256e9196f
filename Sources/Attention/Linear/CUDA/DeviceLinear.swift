import AttentionCUDA
import AttentionCUDAKernels
import AttentionTensors

/// A call of linear attention on a GPU: the launches of `linear/forward.cu` and `linear/step.cu`.
struct DeviceLinear {
  let call: LinearArguments
  let queue: DeviceQueue
  /// nil if each batch entry is a sequence, which kernels derive themselves.
  private let sequences: DeviceSequences?
  /// The number of chunks of all sequences.
  let chunks: Int

  /// - Parameter countsSequences: whether kernels are told of packed sequences here.
  init(_ call: LinearArguments, countsSequences: Bool = true) throws {
    self.call = call
    queue = try DeviceQueue.shared(for: call.device)
    sequences =
      call.problem.isPacked && countsSequences
      ? try DeviceSequences(call.sequences, chunk: LinearTile.chunk, queue) : nil
    chunks =
      sequences?.chunks ?? call.problem.batch * call.problem.length.pieces(of: LinearTile.chunk)
  }

  private var problem: LinearProblem { call.problem }

  /// Memory for a result: `wanted` if it is contiguous and on the device, otherwise new memory.
  func fresh(_ shape: Shape, _ dtype: DType = .float32, into wanted: Tensor? = nil) throws -> Tensor
  {
    try .onDevice(shape, dtype: dtype, device: call.device, into: wanted)
  }

  /// The tile for a pass of a problem without an objection.
  func tile(_ pass: LinearTile.Pass, _ kernel: String) throws -> LinearTile {
    let sharedBytes = queue.device.limits.sharedBytesPerBlock
    guard let tile = LinearTile(problem, pass, sharedBytes: sharedBytes) else {
      throw AttentionError.kernelObjects(
        kernel, Objection("\(problem) does not fit into \(sharedBytes) bytes of shared memory"))
    }
    return tile
  }

  func forward(_ tile: LinearTile) throws -> LinearOutputs {
    let output = try fresh(
      call.outputShape, problem.dtype, into: call.destinations.outputs[.output])
    let finalState = try fresh(call.stateShape, into: call.destinations.outputs[.finalState])
    try launch(tile, output: output, finalState: finalState)
    return LinearOutputs(output: output, finalState: finalState)
  }

  /// The state before every chunk, [chunks, hv, k, v].
  func states(_ tile: LinearTile) throws -> Tensor {
    let states = try fresh([
      chunks, problem.valueHeads, problem.keyDimension, problem.valueDimension,
    ])
    try launch(tile, states: states)
    return states
  }

  private func launch(
    _ tile: LinearTile, output: Tensor? = nil, finalState: Tensor? = nil, states: Tensor? = nil
  ) throws {
    guard problem.recurrences > 0 else { return }
    try queue.launch(
      "linear/forward", definitions: tile.definitions, blocks: problem.recurrences * tile.slices,
      threads: LinearTile.threads, sharedBytes: tile.sharedBytes,
      LinearForwardParameters(
        operands: operands(slices: tile.slices), output: LinearRows(output),
        final_state: Tensor.deviceAddress(finalState), states: Tensor.deviceAddress(states)))
  }

  /// The step form, by `linear/step.cu`.
  func step(_ tile: LinearStepTile) throws -> LinearOutputs {
    let output = try fresh(
      call.outputShape, problem.dtype, into: call.destinations.outputs[.output])
    let finalState = try fresh(call.stateShape, into: call.destinations.outputs[.finalState])
    guard problem.recurrences > 0 else {
      return LinearOutputs(output: output, finalState: finalState)
    }
    try queue.launch(
      "linear/step", definitions: ["KEYS=\(tile.keys)"],
      blocks: problem.recurrences * tile.slices, threads: LinearStepTile.threads,
      sharedBytes: tile.sharedBytes,
      LinearStepParameters(
        operands: operands(slices: tile.slices), output: LinearRows(output),
        final_state: finalState.deviceAddress(), update: problem.update.kernelNumber))
    return LinearOutputs(output: output, finalState: finalState)
  }

  /// The inputs of all kernels.
  func operands(slices: Int) throws -> LinearOperands {
    var updates = call.update.tensors
    var bonus: Tensor?
    if case .additiveBefore(let tensor) = call.update {
      bonus = tensor
      updates = []
    }
    return LinearOperands(
      queries: try LinearRows(call.queries), keys: try LinearRows(call.keys),
      values: try LinearRows(call.values), decay: try LinearRows(call.decay),
      first_update: try LinearRows(updates.first),
      second_update: try LinearRows(updates.dropFirst().first),
      bonus: try Tensor.deviceAddress(bonus),
      initial_state: try Tensor.deviceAddress(call.initialState),
      sequences: sequences?.address ?? 0,
      scale: Float(call.scale),
      epsilon: problem.normalizesQueriesAndKeys ? Float(LinearArguments.normalizationEpsilon) : -1,
      decay_width: Int32(call.decay?.shape[3] ?? 0), is_delta: problem.update == .delta ? 1 : 0,
      heads: Int32(problem.heads), value_heads: Int32(problem.valueHeads),
      key_dimension: Int32(problem.keyDimension), value_dimension: Int32(problem.valueDimension),
      slices: Int32(slices), length: Int32(problem.length))
  }
}
