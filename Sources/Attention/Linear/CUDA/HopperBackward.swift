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
///
/// With the delta rule, whose corrections are X and the gradients of what it writes U, βX stands for V above and
///
///     dk_i −= β_i Σ_{j < i} e_ij (U_i · β_j X_j) k_j     queries βU, keys βX, values K, forward
///     dk_j −= Σ_{i > j} e_ij (β_j X_j · U_i) β_i k_i     queries βX, keys βU, values K, reversed
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
    !problem.normalizesQueriesAndKeys
      && HopperKernel.keyDimensions.contains(problem.valueDimension)
  }

  /// What its passes multiply.
  static func shapes(_ problem: LinearProblem) -> [HopperTile.Shape] {
    let (k, v) = (problem.keyDimension, problem.valueDimension)
    let erases = problem.update.isErasing
    let (values, keys) = (
      HopperTile.Shape(keyDimension: k, valueDimension: v, update: problem.update),
      HopperTile.Shape(keyDimension: v, valueDimension: k)
    )
    return erases ? [values, values, keys, keys, keys, keys] : [values, keys, keys]
  }

  func run(outputGradient: Tensor?, finalStateGradient: Tensor?) throws -> LinearGradients {
    let incoming =
      try outputGradient?.withDenseRows()
      ?? .zeros(call.outputShape, dtype: problem.dtype, device: call.device)
    let final = try finalStateGradient?.contiguous()
    let initialState = try call.initialState.map { _ in try linear.fresh(call.stateShape) }
    return
      problem.update.isErasing
      ? try erasing(incoming, final: final, initialState: initialState)
      : try additive(incoming, final: final, initialState: initialState)
  }

  private var multiprocessors: Int { linear.queue.device.limits.multiprocessors }

  /// [b, t, hv, k]
  private var keyRows: Shape {
    [problem.batch, problem.length, problem.valueHeads, problem.keyDimension]
  }

  private func additive(_ incoming: Tensor, final: Tensor?, initialState: Tensor?) throws
    -> LinearGradients
  {
    let queries = try result(keyRows, call.places.queriesGradient)
    let keys = try result(keyRows, call.places.keysGradient)
    let values = try result(call.outputShape, call.places.valuesGradient)
    var ofQueries = HopperPass(
      queries: incoming, keys: call.values, values: call.keys, output: queries,
      initialState: call.initialState, hasTransposedStates: true)
    let ofValues = HopperPass(
      queries: call.keys, keys: call.queries, values: incoming, output: values, isReversed: true,
      initialState: final, finalState: initialState)
    var ofKeys = HopperPass(
      queries: call.values, keys: incoming, values: call.queries, output: keys, isReversed: true,
      initialState: final, hasTransposedStates: true)
    let flows = try flows(of: [call.queries], ofQueries)
    (ofQueries.flows, ofKeys.flows) = (flows.first?.reads, flows.first?.keys)
    if splits {
      try ofQueries.runInPieces(linear)
      let states = try ofValues.runInPieces(linear)
      try ofKeys.runInPieces(linear, states: states)
    } else {
      for pass in [ofQueries, ofValues, ofKeys] { try pass.run(linear) }
    }
    return LinearGradients(
      queries: queries, keys: keys, values: values, decay: try sum(flows, ofQueries),
      initialState: initialState)
  }

  private func erasing(_ incoming: Tensor, final: Tensor?, initialState: Tensor?) throws
    -> LinearGradients
  {
    let corrections = try linear.fresh(call.outputShape, problem.dtype)
    let gradients = try linear.fresh(call.outputShape, problem.dtype)
    let queries = try result(keyRows, call.places.queriesGradient)
    let (byQueries, byWrites, byReads) = (
      try linear.fresh(keyRows, problem.dtype), try linear.fresh(keyRows, problem.dtype),
      try linear.fresh(keyRows, problem.dtype)
    )
    let ofCorrections = HopperPass(
      queries: call.queries, keys: call.keys, values: call.values, output: corrections,
      update: problem.update, initialState: call.initialState, hasKeyBetas: true,
      isOfCorrections: true)
    let ofGradients = HopperPass(
      queries: call.queries, keys: call.keys, values: incoming, output: gradients,
      update: problem.update, isReversed: true, initialState: final, finalState: initialState)
    var ofQueries = HopperPass(
      queries: incoming, keys: corrections, values: call.keys, output: queries,
      initialState: call.initialState, hasTransposedStates: true, hasKeyBetas: true)
    var ofReads = HopperPass(
      queries: gradients, keys: corrections, values: call.keys, output: byReads,
      initialState: call.initialState, hasTransposedStates: true, scale: 1, isStrict: true,
      hasQueryBetas: true, hasKeyBetas: true)
    var ofKeys = HopperPass(
      queries: corrections, keys: incoming, values: call.queries, output: byQueries,
      isReversed: true, initialState: final, hasTransposedStates: true, hasQueryBetas: true)
    var ofWrites = HopperPass(
      queries: corrections, keys: gradients, values: call.keys, output: byWrites,
      isReversed: true, hasTransposedStates: true, scale: 1, isStrict: true, hasQueryBetas: true,
      hasKeyBetas: true)
    let flows = try flows(of: [call.queries, call.keys], ofQueries)
    (ofQueries.flows, ofKeys.flows) = (flows.first?.reads, flows.first?.keys)
    (ofReads.flows, ofWrites.flows) = (flows.last?.reads, flows.last?.keys)
    if splits {
      let before = try ofCorrections.runInPieces(linear)
      let behind = try ofGradients.runInPieces(linear)
      try ofQueries.runInPieces(linear, states: before)
      try ofReads.runInPieces(linear, states: before)
      // All of the state's gradient behind a piece goes with the first of the two.
      try ofKeys.runInPieces(linear, states: behind)
      try ofWrites.runInPiecesFromNothing(linear)
    } else {
      for pass in [ofCorrections, ofGradients, ofQueries, ofReads, ofKeys, ofWrites] {
        try pass.run(linear)
      }
    }
    let keys = try result(keyRows, call.places.keysGradient)
    let values = try result(call.outputShape, call.places.valuesGradient)
    let beta = try linear.fresh([problem.batch, problem.length, problem.valueHeads, 1])
    try withExtendedLifetime((corrections, gradients, byQueries, byWrites, byReads)) {
      let rows = problem.batch * problem.length * problem.valueHeads
      try linear.queue.launch(
        "linear/correction_sums",
        definitions: ["KEYS=\(problem.keyDimension)", "VALUES=\(problem.valueDimension)"],
        blocks: rows.pieces(of: Self.summingWarps),
        threads: Self.summingWarps * LinearTile.threadsPerWarp,
        SumParameters(
          byQueries: DeviceTokenRows(byQueries), byWrites: DeviceTokenRows(byWrites),
          byReads: DeviceTokenRows(byReads), corrections: DeviceTokenRows(corrections),
          gradients: DeviceTokenRows(gradients), beta: DeviceTokenRows(call.update.tensors[0]),
          keys: DeviceTokenRows(keys), values: DeviceTokenRows(values),
          betaGradient: DeviceTokenRows(beta), rows: Int64(rows), length: Int64(problem.length),
          heads: Int32(problem.valueHeads)))
    }
    return LinearGradients(
      queries: queries, keys: keys, values: values, decay: try sum(flows, ofQueries),
      update: [beta], initialState: initialState)
  }

  /// Warps of a block of `linear/correction_sums.cu`.
  private static let summingWarps = 8

  /// As `linear/correction_sums.cu` declares it.
  private struct SumParameters: BitwiseCopyable {
    var byQueries: DeviceTokenRows
    var byWrites: DeviceTokenRows
    var byReads: DeviceTokenRows
    var corrections: DeviceTokenRows
    var gradients: DeviceTokenRows
    var beta: DeviceTokenRows
    var keys: DeviceTokenRows
    var values: DeviceTokenRows
    var betaGradient: DeviceTokenRows
    var rows: Int64
    var length: Int64
    var heads: Int32
    var unused: Int32 = 0
  }

  /// Memory for what passes through tokens, for each of those who read; none if nobody wants the decay's gradient.
  private func flows(of readers: [Tensor], _ pass: HopperPass) throws -> [HopperFlowPair] {
    guard call.decay != nil, call.wantsDecayGradient else { return [] }
    let cut = splits ? HopperPieces(call, multiprocessors) : nil
    var pairs: [HopperFlowPair] = []
    for reader in readers {
      pairs.append(
        try HopperFlows.pair(
          linear, of: reader, segments: cut?.segments ?? linear.chunks, slices: tile(pass).slices,
          states: pairs.first?.reads.states))
    }
    return pairs
  }

  private var recurrences: Int {
    splits
      ? HopperPieces(call, multiprocessors).pieces.count * problem.valueHeads
      : problem.recurrences
  }

  private func tile(_ pass: HopperPass) -> HopperTile {
    HopperTile(pass.shape(problem), recurrences: recurrences, multiprocessors: multiprocessors)
  }

  private func sum(_ flows: [HopperFlowPair], _ pass: HopperPass) throws -> Tensor? {
    guard !flows.isEmpty else { return nil }
    let sequences =
      try splits
      ? {
        let cut = HopperPieces(call, multiprocessors)
        return try DeviceSequences(
          cut.pieces, firstChunks: cut.firstSegments, chunks: cut.segments, linear.queue)
      }() : nil
    return try HopperFlowPair.sum(
      flows, linear, tile(pass), sequences, recurrences: recurrences)
  }

  /// Memory for a gradient: `wanted` where it has this shape and threads can write 16 bytes at once.
  private func result(_ shape: Shape, _ wanted: Tensor?) throws -> Tensor {
    let place = try wanted.flatMap {
      try $0.shape == shape && $0.deviceAddress() % HopperKernel.chunkBytes == 0 ? $0 : nil
    }
    return try linear.fresh(shape, problem.dtype, into: place)
  }
}
