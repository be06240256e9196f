import AttentionCUDA
import AttentionCUDAKernels
import AttentionTensors

extension DeviceLinear {
  /// The gradients of a call, by `linear/backward.cu` from the states that a forward pass stored before every
  /// chunk.
  func backward(
    _ tile: LinearTile, states: Tensor, outputGradient: Tensor?, finalStateGradient: Tensor?
  ) throws -> LinearGradients {
    let problem = call.problem
    let slots = try Slots(self, slices: tile.slices)
    let values = try fresh(call.outputShape, problem.dtype)
    let initialState = try call.initialState.map { _ in try fresh(call.stateShape) }
    let incoming = try outputGradient?.withDenseRows()
    let finalState = try finalStateGradient?.contiguous()
    if problem.recurrences > 0 {
      let tokens = problem.batch * problem.length
      try withExtendedLifetime((incoming, finalState, states)) {
        try queue.launch(
          "linear/backward", definitions: tile.definitions,
          blocks: problem.recurrences * tile.slices, threads: LinearTile.threads,
          sharedBytes: tile.sharedBytes,
          LinearBackwardParameters(
            operands: operands(slices: tile.slices), output_gradient: LinearRows(incoming),
            final_state_gradient: Tensor.deviceAddress(finalState), states: states.deviceAddress(),
            values: LinearRows(values), initial_state: Tensor.deviceAddress(initialState),
            queries: slots.queries.deviceAddress(), keys: slots.keys.deviceAddress(),
            reads: Tensor.deviceAddress(slots.reads), writes: Tensor.deviceAddress(slots.writes),
            decay: Tensor.deviceAddress(slots.decay), beta: Tensor.deviceAddress(slots.beta),
            bonus: Tensor.deviceAddress(slots.bonus), tokens: Int64(tokens),
            length: Int64(problem.length)))
      }
    }
    return try slots.gradients(self, values: values, initialState: initialState)
  }

  /// The shares of gradients by the blocks of a recurrence, each of which has its own columns.
  private struct Slots {
    /// [slices, b, t, hv, k] each; r's and z's only if the update has them.
    let queries, keys: Tensor
    let reads, writes: Tensor?
    /// [slices, b, t, hv, 1 or k]
    let decay: Tensor?
    /// [slices, b, t, hv]
    let beta: Tensor?
    /// [n · slices, hv, k]
    let bonus: Tensor?

    init(_ linear: DeviceLinear, slices: Int) throws {
      let (call, problem) = (linear.call, linear.call.problem)
      let tokens = [slices, problem.batch, problem.length, problem.valueHeads]
      func slots(_ width: Int) throws -> Tensor { try linear.fresh(Shape(tokens + [width])) }
      let k = problem.keyDimension
      queries = try slots(k)
      keys = try slots(k)
      decay = try call.decay.map { try slots($0.shape[3]) }
      let update = problem.update
      reads = update == .generalizedDelta || update == .lowRank ? try slots(k) : nil
      writes = update == .lowRank ? try slots(k) : nil
      beta = update == .delta ? try linear.fresh(Shape(tokens)) : nil
      bonus =
        update == .additiveBefore
        ? try linear.fresh([problem.sequences * slices, problem.valueHeads, k]) : nil
    }

    /// The gradients, summed over the slots.
    func gradients(_ linear: DeviceLinear, values: Tensor, initialState: Tensor?) throws
      -> LinearGradients
    {
      let (call, queue, problem) = (linear.call, linear.queue, linear.call.problem)
      let tokens = [problem.batch, problem.length]
      let (h, hv, k) = (problem.heads, problem.valueHeads, problem.keyDimension)
      /// The sum over slots, with the heads as one row, so that they are not summed over.
      func sum(_ slots: Tensor?, _ shape: [Int]) throws -> Tensor? {
        try slots.map {
          let width = shape[2...].reduce(1, *)
          return try SlotSum(slots: $0).run(Shape(tokens + [width]), .float32, queue)
            .reshaped(Shape(shape))
        }
      }
      func keySum(_ slots: Tensor, _ source: Tensor, scale: Double) throws -> Tensor {
        let sum = SlotSum(
          slots: slots, group: hv / h, scale: scale,
          normalized: problem.normalizesQueriesAndKeys ? source : nil)
        return try sum.run(Shape(tokens + [h, k]), problem.dtype, queue)
      }
      let bonus = try bonus.map {
        try SlotSum(slots: $0).run([1, hv, k], .float32, queue).reshaped([hv, k])
      }
      let update = [
        bonus, try sum(beta, tokens + [hv, 1]), try sum(reads, tokens + [hv, k]),
        try sum(writes, tokens + [hv, k]),
      ]
      return LinearGradients(
        of: call, queries: try keySum(queries, call.queries, scale: call.scale),
        keys: try keySum(keys, call.keys, scale: 1), values: values,
        decay: try sum(decay, tokens + [hv, call.decay?.shape[3] ?? 0]),
        update: update.compactMap { $0 }, initialState: initialState)
    }
  }
}
