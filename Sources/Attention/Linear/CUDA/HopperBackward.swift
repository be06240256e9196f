import CUDA
import Tensors

/// The backward pass of `cuda.hopper`, which is linear attention again. With dO the gradient of the output and e
/// what decays between two tokens,
///
///     dq_i = scale · Σ_{j ≤ i} e_ij (dO_i · v_j) k_j     queries dO, keys V, values K, forward
///     dv_j = scale · Σ_{i ≥ j} e_ij (k_j · q_i) dO_i     queries K, keys Q, values dO, reversed
///     dk_j = scale · Σ_{i ≥ j} e_ij (v_j · dO_i) q_i     queries V, keys dO, values Q, reversed
///
/// and the states of the first and the last are those of the other passes, transposed.
struct HopperBackward {
  private let linear: DeviceLinear
  private let splits: Bool

  private var call: LinearCall { linear.call }
  private var problem: LinearProblem { linear.call.problem }

  init(_ call: LinearCall, splits: Bool) throws {
    linear = try DeviceLinear(call, chunk: HopperFlows.segment)
    self.splits = splits
  }

  /// Whether it computes the gradients of `problem`, to whose forward pass there is no objection.
  static func serves(_ problem: LinearProblem) -> Bool {
    problem.update == .additive && !problem.normalizesQueriesAndKeys
      && HopperKernel.keyDimensions.contains(problem.valueDimension)
  }

  /// What its passes multiply.
  static func shapes(_ problem: LinearProblem) -> [HopperTile.Shape] {
    let (k, v) = (problem.keyDimension, problem.valueDimension)
    return [(v, k), (k, v), (v, k)].map {
      HopperTile.Shape(keyDimension: $0, valueDimension: $1, decays: problem.decay != .none)
    }
  }

  func run(outputGradient: Tensor?, finalStateGradient: Tensor?) throws -> LinearGradients {
    let incoming =
      try outputGradient?.withDenseRows()
      ?? .zeros(call.outputShape, dtype: problem.dtype, device: call.device)
    let final = try finalStateGradient?.contiguous()
    let rows: Shape = [
      problem.batch, problem.length, problem.valueHeads, problem.keyDimension,
    ]
    let queries = try result(rows, call.places.queriesGradient)
    let keys = try result(rows, call.places.keysGradient)
    let values = try result(call.outputShape, call.places.valuesGradient)
    let initialState = try call.initialState.map { _ in try linear.fresh(call.stateShape) }
    var ofQueries = HopperPass(
      queries: incoming, keys: call.values, values: call.keys, output: queries,
      initialState: call.initialState, hasTransposedStates: true)
    let ofValues = HopperPass(
      queries: call.keys, keys: call.queries, values: incoming, output: values, isReversed: true,
      initialState: final, finalState: initialState)
    var ofKeys = HopperPass(
      queries: call.values, keys: incoming, values: call.queries, output: keys, isReversed: true,
      initialState: final, hasTransposedStates: true)

    let multiprocessors = linear.queue.device.limits.multiprocessors
    let cut = splits ? HopperPieces(call, multiprocessors) : nil
    let recurrences = cut.map { $0.pieces.count * problem.valueHeads } ?? problem.recurrences
    let finds = call.decay != nil && call.wantsDecayGradient
    if finds {
      let tile = HopperTile(
        ofQueries.shape(problem), recurrences: recurrences, multiprocessors: multiprocessors)
      let flows = try HopperFlows.both(
        linear, segments: cut?.segments ?? linear.chunks, slices: tile.slices)
      (ofQueries.flows, ofKeys.flows) = (flows[0], flows[1])
    }
    if splits {
      try ofQueries.runInPieces(linear)
      let states = try ofValues.runInPieces(linear)
      try ofKeys.runInPieces(linear, states: states)
    } else {
      for pass in [ofQueries, ofValues, ofKeys] { try pass.run(linear) }
    }
    let flows = [ofQueries.flows, ofKeys.flows].compactMap { $0 }
    let decay =
      try finds
      ? HopperFlows.sum(
        flows, linear,
        HopperTile(
          ofQueries.shape(problem), recurrences: recurrences, multiprocessors: multiprocessors),
        cut.map {
          try DeviceSequences(
            $0.pieces, firstChunks: $0.firstSegments, chunks: $0.segments, linear.queue)
        }, recurrences: recurrences)
      : nil
    return LinearGradients(
      queries: queries, keys: keys, values: values, decay: decay, initialState: initialState)
  }

  /// Memory for a gradient: `wanted` where it has this shape and threads can write 16 bytes at once.
  private func result(_ shape: Shape, _ wanted: Tensor?) throws -> Tensor {
    let place = try wanted.flatMap {
      try $0.shape == shape && $0.deviceAddress() % HopperKernel.chunkBytes == 0 ? $0 : nil
    }
    return try linear.fresh(shape, problem.dtype, into: place)
  }
}
