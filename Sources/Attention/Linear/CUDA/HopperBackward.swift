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
  let plan: HopperPlan
  /// The operands of products, normalised if the call requires it.
  let (queries, keys): (Tensor, Tensor)

  var linear: DeviceLinear { plan.linear }
  var call: LinearArguments { plan.call }
  var problem: LinearProblem { plan.problem }

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
    // Low-rank updates need two passes for rows that read and write, in which others have four.
    return problem.update == .lowRank
      ? [values, values, keys, keys]
      : erases ? [values, values, keys, keys, keys, keys] : [values, keys, keys]
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

  /// - Parameter finalState: that of the forward pass.
  func run(finalState: Tensor?, outputGradient: Tensor?, finalStateGradient: Tensor?) throws
    -> LinearGradients
  {
    let incoming =
      try outputGradient?.withDenseRows()
      ?? .zeros(plan.source.outputShape, dtype: problem.dtype, device: call.device)
    let final = try finalStateGradient?.contiguous()
    let initialState = try call.initialState.map { _ in try linear.fresh(call.stateShape) }
    // The flow ⟨S, dS⟩ behind the sequences, of each channel if those decay.
    var crossing: Tensor?
    if let final, let finalState, call.wantsDecayGradient {
      crossing = try (finalState * final).sum(problem.decay == .perChannel ? [-1] : [-2, -1])
    }
    guard problem.decay == .perChannel else {
      return try problem.update.isErasing
        ? erasing(incoming, final: final, crossing, initialState: initialState)
        : additive(incoming, final: final, crossing, initialState: initialState)
    }
    return switch problem.update {
    case .lowRank: try lowRank(incoming, final: final, crossing, initialState: initialState)
    case .delta:
      try erasingByChannel(incoming, final: final, crossing, initialState: initialState)
    default: try additiveByChannel(incoming, final: final, crossing, initialState: initialState)
    }
  }

  /// [b, t, hv, k]
  var keyRows: Shape {
    [problem.batch, problem.length, problem.valueHeads, problem.keyDimension]
  }

  private func additive(
    _ incoming: Tensor, final: Tensor?, _ crossing: Tensor?, initialState: Tensor?
  ) throws -> LinearGradients {
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
      values: values, decay: try sum(flows, final: crossing, ofQueries),
      initialState: initialState)
  }

  private func erasing(
    _ incoming: Tensor, final: Tensor?, _ crossing: Tensor?, initialState: Tensor?
  ) throws -> LinearGradients {
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
      decay: try sum(flows, final: crossing, ofQueries), update: [beta], initialState: initialState)
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

  private func sum(_ flows: [HopperFlowPair], final: Tensor?, _ pass: HopperPass) throws -> Tensor?
  {
    flows.isEmpty ? nil : try HopperFlowPair.sum(flows, final: final, plan, pass.tile(plan))
  }

  /// The gradient of queries or keys before normalisation, from that of the operands.
  func unfold(_ gradient: Tensor, queries: Bool) throws -> Tensor {
    guard problem.normalizesQueriesAndKeys else { return gradient }
    let source = queries ? call.queries : call.keys
    return try SlotSum(
      slots: gradient.unsqueezed(0), group: problem.valueHeads / problem.heads, normalized: source
    ).run(source.shape, problem.dtype, linear.queue)
  }
}
