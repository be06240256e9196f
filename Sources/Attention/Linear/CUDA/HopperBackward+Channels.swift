import AttentionTensors

/// The backward pass with decay by channel: passes read q̂ and k̂ (``HopperChannels``) for q and k, and the gradients of
/// these are converted to those of q and k, and to that of the decay.
extension HopperBackward {
  /// For additive updates.
  func additiveByChannel(
    _ incoming: Tensor, final: Tensor?, _ crossing: Tensor?, initialState: Tensor?
  ) throws -> LinearGradients {
    let queriesGradient = try plan.result(keyRows, call.destinations.gradients[.queries])
    let keysGradient = try plan.result(keyRows, call.destinations.gradients[.keys])
    let values = try plan.result(call.outputShape, call.destinations.gradients[.values])
    let channels = try HopperChannels(plan, queries: queries, keys: keys)
    let flows = try HopperFlows.ofChannels(plan)
    let ofQueries = HopperPass(
      queries: incoming, keys: call.values, values: channels.keys, output: queriesGradient,
      initialState: call.initialState, hasTransposedStates: true, flows: flows, isStrict: true,
      channels: channels, decaysValues: true)
    let ofValues = HopperPass(
      queries: channels.keys, keys: channels.queries, values: incoming, output: values,
      isReversed: true, initialState: final, finalState: initialState, channels: channels)
    let ofKeys = HopperPass(
      queries: call.values, keys: incoming, values: channels.queries, output: keysGradient,
      isReversed: true, initialState: final, hasTransposedStates: true, flows: flows,
      isStrict: true, channels: channels, decaysValues: true)
    try ofQueries.run(plan)
    let behind = try ofValues.run(plan)
    try ofKeys.run(plan, states: .known(behind))
    let decay = try channels.gradients(
      queries: queriesGradient, keys: keysGradient, flows: flows, final: crossing)
    return LinearGradients(
      of: call, queries: try unfold(queriesGradient, queries: true),
      keys: try unfold(keysGradient, queries: false), values: values, decay: decay,
      initialState: initialState)
  }

  /// The same for the delta rule, with the written values for V, and ǩ for the keys that erase.
  func erasingByChannel(
    _ incoming: Tensor, final: Tensor?, _ crossing: Tensor?, initialState: Tensor?
  ) throws -> LinearGradients {
    let channels = try HopperChannels(plan, queries: queries, keys: keys)
    guard let erasers = channels.erasers else { preconditionFailure("the update erases") }
    let destinations = call.destinations.gradients
    let written = try linear.fresh(call.outputShape, problem.dtype)
    let queriesGradient = try plan.result(keyRows, destinations[.queries])
    let values = try plan.result(call.outputShape, destinations[.values])
    let keysGradient = try plan.result(keyRows, destinations[.keys])
    let erasersGradient = try plan.result(keyRows, nil)
    let beta = try linear.fresh([problem.batch, problem.length, problem.valueHeads, 1])
    let inverses = try HopperInverses(
      plan, keys: channels.keys, normalizes: false, isOfGradients: true, channels: channels)
    let flows = try HopperFlows.ofChannels(plan)
    let erased = try HopperFlows.ofChannels(plan, with: flows)
    let ofWritten = HopperPass(
      queries: channels.queries, keys: channels.keys, values: call.values, output: written,
      update: problem.update, initialState: call.initialState, isOfWrites: true,
      inverses: inverses, channels: channels)
    let ofValues = HopperPass(
      queries: channels.queries, keys: channels.keys, values: incoming, output: values,
      update: problem.update, isReversed: true, initialState: final, finalState: initialState,
      inverses: inverses, channels: channels)
    let ofQueries = HopperPass(
      queries: incoming, keys: written, values: channels.keys, output: queriesGradient,
      initialState: call.initialState, hasTransposedStates: true, flows: flows, isStrict: true,
      channels: channels, decaysValues: true)
    let ofReads = HopperPass(
      queries: values, keys: written, values: channels.keys, output: erasersGradient,
      initialState: call.initialState, hasTransposedStates: true, scale: 1, isStrict: true,
      channels: channels, decaysValues: true)
    let ofWrites = HopperPass(
      queries: written, keys: values, values: erasers, output: keysGradient, isReversed: true,
      hasTransposedStates: true, flows: erased, scale: 1, isStrict: true, betas: beta,
      channels: channels, decaysValues: true)
    let ofFound = HopperPass(
      queries: written, keys: incoming, values: channels.queries, output: keysGradient,
      isReversed: true, initialState: final, hasTransposedStates: true, flows: flows,
      isStrict: true, held: .taken, channels: channels, decaysValues: true)
    let before = try ofWritten.run(plan)
    let behind = try ofValues.run(plan)
    try ofQueries.run(plan, states: .known(before))
    try ofReads.run(plan, states: .known(before))
    try ofWrites.run(plan, states: .none)
    try ofFound.run(plan, states: .known(behind))
    let decay = try channels.gradients(
      queries: queriesGradient, keys: keysGradient, flows: flows, final: crossing,
      erasers: erasersGradient, erased: erased)
    return LinearGradients(
      of: call, queries: try unfold(queriesGradient, queries: true),
      keys: try unfold(keysGradient, queries: false), values: values, decay: decay,
      update: [beta], initialState: initialState)
  }
}
