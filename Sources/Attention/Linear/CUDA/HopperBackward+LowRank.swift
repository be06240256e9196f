import AttentionTensors

/// The backward pass of low-rank updates, in two rows per token (``LowRankRows``). With the written values W, b̂ and k̂
/// the keys, −â and q̂ the rows that read, and dV the gradients of what first rows read and dO of second ones,
///
///     d(−â, q̂)_i = s_i Σ_{j < i} (dV_i · W_j) k̂_j      queries dV, keys W, values k̂, forward
///     dk̂_j = Σ_{i > j} s_i (W_j · dV_i) (−â, q̂)_i      queries W, keys dV, values (−â, q̂), reversed
///
/// where s is the scale in second rows and −1 in first ones, which erase.
extension HopperBackward {
  func lowRank(
    _ incoming: Tensor, final: Tensor?, _ crossing: Tensor?, initialState: Tensor?
  ) throws -> LinearGradients {
    let channels = try HopperChannels(plan, queries: queries, keys: keys)
    guard let reads = channels.reads else { preconditionFailure("the update is a low-rank one") }
    let written = try linear.fresh(call.outputShape, problem.dtype)
    let found = try linear.fresh(call.outputShape, problem.dtype)
    let values = try plan.result(plan.source.outputShape, call.destinations.gradients[.values])
    let readsGradient = try plan.result(reads.shape, nil)
    let writesGradient = try plan.result(reads.shape, nil)
    let inverses = try HopperInverses(
      plan, keys: channels.keys, normalizes: false, isOfGradients: true, channels: channels)
    let flows = try HopperFlows.ofChannels(plan)
    let ofWritten = HopperPass(
      queries: channels.queries, keys: channels.keys, values: call.values, output: written,
      update: problem.update, initialState: call.initialState, isOfWrites: true,
      inverses: inverses, channels: channels, queryRows: .second, valueRows: .second)
    let ofValues = HopperPass(
      queries: channels.queries, keys: channels.keys, values: incoming,
      output: try LowRankRows.first.of(found), update: problem.update, isReversed: true,
      initialState: final, finalState: initialState, inverses: inverses, channels: channels,
      queryRows: .second, valueRows: .second, outputRows: .first, secondOutput: values,
      valuesCopy: try LowRankRows.second.of(found))
    let ofReads = HopperPass(
      queries: found, keys: written, values: channels.keys, output: readsGradient,
      initialState: call.initialState, hasTransposedStates: true, flows: flows, isStrict: true,
      channels: channels, decaysValues: true, scalesSecondRows: true)
    let ofWrites = HopperPass(
      queries: written, keys: found, values: reads, output: writesGradient, isReversed: true,
      initialState: final, hasTransposedStates: true, flows: flows, isStrict: true,
      channels: channels, decaysValues: true, scalesSecondRows: true)
    let before = try ofWritten.run(plan)
    let behind = try ofValues.run(plan)
    try ofReads.run(plan, states: .known(before))
    try ofWrites.run(plan, states: .known(behind))
    var gradients = try channels.lowRankGradients(
      reads: readsGradient, writes: writesGradient, flows: flows, final: crossing)
    gradients[.values] = values
    gradients[.initialState] = initialState
    gradients[.queries] = try gradients[.queries].map { try unfold($0, queries: true) }
    gradients[.keys] = try gradients[.keys].map { try unfold($0, queries: false) }
    return gradients
  }
}
