import AttentionCUDA
import AttentionTensors

/// The backward pass of `cuda.hopper`, which is linear attention again. With dO the gradient of the output
/// and e_ij the decay between two tokens,
///
///     dq_i = scale · Σ_{j ≤ i} e_ij (dO_i · v_j) k_j     queries dO, keys V, values K, forward
///     dv_j = scale · Σ_{i ≥ j} e_ij (k_j · q_i) dO_i     queries K, keys Q, values dO, reversed
///     dk_j = scale · Σ_{i ≥ j} e_ij (v_j · dO_i) q_i     queries V, keys dO, values Q, reversed
///
/// and the states of the first and the last pass are those of the other passes, transposed.
///
/// With the delta rule, W are the written values. dV is computed first, and with W for V above
///
///     dk_i −= Σ_{j < i} e_ij (dV_i · W_j) k_j            queries dV, keys W, values K, forward
///     dk_j −= Σ_{i > j} e_ij (W_j · dV_i) k_i            queries W, keys dV, values K, reversed
///     dβ_i = dV_i · W_i / β_i²
struct HopperBackward {
  private let plan: HopperPlan
  /// The operands of products, normalised if the call requires it.
  private let (queries, keys): (Tensor, Tensor)

  private var linear: DeviceLinear { plan.linear }
  private var call: LinearArguments { plan.call }
  private var problem: LinearProblem { plan.problem }

  init(_ call: LinearArguments, splits: Bool) throws {
    let plan = try HopperPlan(call, splits: splits, goesBack: true)
    self.plan = plan
    func read(_ rows: Tensor) throws -> Tensor {
      try call.problem.normalizesQueriesAndKeys ? UnitRows(rows).run(plan.queue) : rows
    }
    (queries, keys) = (try read(call.queries), try read(call.keys))
  }

  /// Whether it supports the gradients of `problem`, to whose forward pass there is no objection.
  static func serves(_ problem: LinearProblem) -> Bool {
    HopperKernel.keyDimensions.contains(problem.valueDimension)
  }

  /// The shapes of its passes.
  static func shapes(_ problem: LinearProblem) -> [HopperTile.Shape] {
    let (k, v) = (problem.keyDimension, problem.valueDimension)
    let erases = problem.update.isErasing
    let (values, keys) = (
      HopperTile.Shape(keyDimension: k, valueDimension: v, update: problem.update),
      HopperTile.Shape(keyDimension: v, valueDimension: k)
    )
    return erases ? [values, values, keys, keys, keys, keys] : [values, keys, keys]
  }

  /// Bytes of the arrays kept between the passes.
  static func extraBytes(_ problem: LinearProblem) -> Int {
    let (k, v) = (problem.keyDimension, problem.valueDimension)
    let tokens = problem.batch * problem.length * problem.valueHeads
    let (half, single) = (problem.dtype.size, MemoryLayout<Float>.size)
    let erases = problem.update.isErasing
    // The written values, and the gradient of β in float32; normalised queries and keys.
    var bytes = erases ? tokens * (v * half + single) : 0
    if problem.normalizesQueriesAndKeys {
      bytes += 2 * problem.batch * problem.length * problem.heads * k * half
    }
    if problem.decay == .perChannel {
      bytes += erases ? tokens * k * half : 0
      bytes += HopperFlows.bytesOfChannels(problem)
    } else if problem.decay != .none {
      bytes += (erases ? 2 : 1) * HopperFlows.bytes(tokens: tokens, k: k)
      bytes += tokens.pieces(of: HopperFlows.segment) * k * v * half
    }
    return bytes
  }

  func run(outputGradient: Tensor?, finalStateGradient: Tensor?) throws -> LinearGradients {
    let incoming =
      try outputGradient?.withDenseRows()
      ?? .zeros(call.outputShape, dtype: problem.dtype, device: call.device)
    let final = try finalStateGradient?.contiguous()
    let initialState = try call.initialState.map { _ in try linear.fresh(call.stateShape) }
    return switch (problem.update.isErasing, problem.decay == .perChannel) {
    case (false, false): try additive(incoming, final: final, initialState: initialState)
    case (false, true): try additiveByChannel(incoming, final: final, initialState: initialState)
    case (true, false): try erasing(incoming, final: final, initialState: initialState)
    case (true, true): try erasingByChannel(incoming, final: final, initialState: initialState)
    }
  }

  /// [b, t, hv, k]
  private var keyRows: Shape {
    [problem.batch, problem.length, problem.valueHeads, problem.keyDimension]
  }

  /// With decay by channel: passes read q̂ and k̂ for q and k above, whose gradients are converted back.
  private func additiveByChannel(_ incoming: Tensor, final: Tensor?, initialState: Tensor?) throws
    -> LinearGradients
  {
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
    let decay = try channels.gradients(queries: queriesGradient, keys: keysGradient, flows: flows)
    return LinearGradients(
      of: call, queries: try unfold(queriesGradient, queries: true),
      keys: try unfold(keysGradient, queries: false), values: values, decay: decay,
      initialState: initialState)
  }

  private func additive(_ incoming: Tensor, final: Tensor?, initialState: Tensor?) throws
    -> LinearGradients
  {
    let queriesGradient = try plan.result(keyRows, call.destinations.gradients[.queries])
    let keysGradient = try plan.result(keyRows, call.destinations.gradients[.keys])
    let values = try plan.result(call.outputShape, call.destinations.gradients[.values])
    var ofQueries = HopperPass(
      queries: incoming, keys: call.values, values: keys, output: queriesGradient,
      initialState: call.initialState, hasTransposedStates: true)
    let ofValues = HopperPass(
      queries: keys, keys: queries, values: incoming, output: values, isReversed: true,
      initialState: final, finalState: initialState)
    var ofKeys = HopperPass(
      queries: call.values, keys: incoming, values: queries, output: keysGradient, isReversed: true,
      initialState: final, hasTransposedStates: true)
    let flows = try flows(of: [queries], ofQueries)
    (ofQueries.flows, ofKeys.flows) = (flows.first?.reads, flows.first?.keys)
    try ofQueries.run(plan)
    let behind = try ofValues.run(plan)
    try ofKeys.run(plan, states: .known(behind))
    return LinearGradients(
      of: call, queries: try unfold(queriesGradient, queries: true),
      keys: try unfold(keysGradient, queries: false),
      values: values, decay: try sum(flows, ofQueries),
      initialState: initialState)
  }

  private func erasing(_ incoming: Tensor, final: Tensor?, initialState: Tensor?) throws
    -> LinearGradients
  {
    let written = try linear.fresh(call.outputShape, problem.dtype)
    let queriesGradient = try plan.result(keyRows, call.destinations.gradients[.queries])
    let values = try plan.result(call.outputShape, call.destinations.gradients[.values])
    let keysGradient = try plan.result(keyRows, call.destinations.gradients[.keys])
    let beta = try linear.fresh([problem.batch, problem.length, problem.valueHeads, 1])
    let inverses = try HopperInverses(
      plan, keys: keys, normalizes: false, isOfGradients: true)
    let ofWritten = HopperPass(
      queries: queries, keys: keys, values: call.values, output: written, update: problem.update,
      initialState: call.initialState, isOfWrites: true, inverses: inverses)
    let ofValues = HopperPass(
      queries: queries, keys: keys, values: incoming, output: values, update: problem.update,
      isReversed: true, initialState: final, finalState: initialState, inverses: inverses)
    var ofQueries = HopperPass(
      queries: incoming, keys: written, values: keys, output: queriesGradient,
      initialState: call.initialState, hasTransposedStates: true)
    var ofReads = HopperPass(
      queries: values, keys: written, values: keys, output: keysGradient,
      initialState: call.initialState, hasTransposedStates: true, scale: 1, isStrict: true)
    var ofFound = HopperPass(
      queries: written, keys: incoming, values: queries, output: keysGradient, isReversed: true,
      initialState: final, hasTransposedStates: true, held: .taken)
    var ofWrites = HopperPass(
      queries: written, keys: values, values: keys, output: keysGradient, isReversed: true,
      hasTransposedStates: true, scale: 1, isStrict: true, held: .added, betas: beta)
    let flows = try flows(of: [queries, keys], ofQueries)
    (ofQueries.flows, ofFound.flows) = (flows.first?.reads, flows.first?.keys)
    (ofReads.flows, ofWrites.flows) = (flows.last?.reads, flows.last?.keys)
    let before = try ofWritten.run(plan)
    let behind = try ofValues.run(plan)
    try ofQueries.run(plan, states: .known(before))
    try ofReads.run(plan, states: .known(before))
    try ofWrites.run(plan, states: .none)
    // This pass takes the whole gradient of the state after a piece.
    try ofFound.run(plan, states: .known(behind))
    return LinearGradients(
      of: call, queries: try unfold(queriesGradient, queries: true),
      keys: try unfold(keysGradient, queries: false), values: values,
      decay: try sum(flows, ofQueries), update: [beta], initialState: initialState)
  }

  /// The same for erasing updates, with the written values for V, and ǩ for the keys that erase.
  private func erasingByChannel(_ incoming: Tensor, final: Tensor?, initialState: Tensor?) throws
    -> LinearGradients
  {
    let channels = try HopperChannels(plan, queries: queries, keys: keys)
    guard let erasers = channels.erasers else { preconditionFailure("the update erases") }
    let written = try linear.fresh(call.outputShape, problem.dtype)
    let queriesGradient = try plan.result(keyRows, call.destinations.gradients[.queries])
    let values = try plan.result(call.outputShape, call.destinations.gradients[.values])
    let keysGradient = try plan.result(keyRows, call.destinations.gradients[.keys])
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
      queries: queriesGradient, keys: keysGradient, flows: flows, erasers: erasersGradient,
      erased: erased)
    return LinearGradients(
      of: call, queries: try unfold(queriesGradient, queries: true),
      keys: try unfold(keysGradient, queries: false), values: values, decay: decay,
      update: [beta], initialState: initialState)
  }

  /// Allocates the flows through tokens for each of `readers`; none unless the decay's gradient is needed.
  private func flows(of readers: [Tensor], _ pass: HopperPass) throws -> [HopperFlowPair] {
    guard call.decay != nil, call.wantsDecayGradient else { return [] }
    var shape = pass.shape(problem)
    shape.hasFlows = true
    let tile = HopperTile(
      shape, recurrences: plan.recurrences, multiprocessors: plan.multiprocessors)
    var pairs: [HopperFlowPair] = []
    for reader in readers {
      pairs.append(
        try HopperFlows.pair(
          plan, of: reader, keys: keys, slices: tile.slices, states: pairs.first?.keys.states))
    }
    return pairs
  }

  private func sum(_ flows: [HopperFlowPair], _ pass: HopperPass) throws -> Tensor? {
    flows.isEmpty ? nil : try HopperFlowPair.sum(flows, plan, pass.tile(plan))
  }

  /// The gradient of queries or keys before normalisation, from that of the operands.
  private func unfold(_ gradient: Tensor, queries: Bool) throws -> Tensor {
    guard problem.normalizesQueriesAndKeys else { return gradient }
    let source = queries ? call.queries : call.keys
    return try SlotSum(
      slots: gradient.unsqueezed(0), group: problem.valueHeads / problem.heads, normalized: source
    ).run(source.shape, problem.dtype, linear.queue)
  }
}
