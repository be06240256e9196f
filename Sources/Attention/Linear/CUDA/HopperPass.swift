import AttentionCUDA
import AttentionCUDAKernels
import AttentionTensors

/// A pass over the tokens by `linear/hopper_forward.cu`: linear attention of these queries, keys and values with
/// the call's decay, from the first token to the last or from the last to the first.
///
/// The backward pass consists of such passes, with tensors in other roles.
struct HopperPass {
  /// [b, t, heads, d] each; heads divide the call's value heads; keys and queries have the same dimension.
  let queries, keys, values: Tensor
  /// [b, t, hv, v]
  let output: Tensor
  var update = LinearProblem.Update.additive
  var isReversed = false
  /// Whether queries and keys are normalised.
  var normalizes = false
  var initialState: Tensor?
  var finalState: Tensor?
  /// Whether states are [n, hv, values, keys] in memory instead of [n, hv, keys, values].
  var hasTransposedStates = false
  /// Memory for the flows through tokens, for the gradient of the decay.
  var flows: HopperFlows?
  /// The factor of the queries; nil for the call's.
  var scale: Double?
  /// Whether a token's own key is excluded.
  var isStrict = false
  /// Whether the outputs are the values that the delta rule writes.
  var isOfWrites = false
  /// How outputs are combined with the previous content of `output`.
  var held = HopperTile.Held.nothing
  /// Memory for the gradient of β [b, t, hv, 1] in float32, in a pass whose queries are the written values
  /// and whose keys are the gradients of the values.
  var betas: Tensor?
  /// Those of erasing updates.
  var inverses: HopperInverses?
  /// The decays by channel, by which queries and keys, or the values, have been multiplied.
  var channels: HopperChannels?
  /// Whether the values have been multiplied, instead of queries and keys.
  var decaysValues = false
  /// With low-rank updates, which rows of tokens these tensors have.
  var queryRows = LowRankRows.all
  var keyRows = LowRankRows.all
  var valueRows = LowRankRows.all
  var outputRows = LowRankRows.all
  /// Memory for the second rows of the outputs, if `output` has the first, and for a copy of the values: see
  /// `linear/hopper_value_gradients.cu`.
  var secondOutput, valuesCopy: Tensor?
  /// Whether the scale is that of second rows only, and of first rows −1.
  var scalesSecondRows = false
}

extension HopperPass {
  private var keyDimension: Int { keys.shape[3] }
  private var valueDimension: Int { values.shape[3] }

  /// The states before the pieces of split sequences.
  enum PieceStates {
    /// Computed, with the final state: first each piece's effect on the state, then one state from another.
    case find
    /// Computed by another pass.
    case known(Tensor?)
    /// Zero before every piece.
    case none
  }

  /// Runs the pass.
  ///
  /// - Parameter states: how the states before pieces are determined, if sequences are split.
  /// - Returns: those states, [pieces, …] in the layout of initial states; nil if sequences are not split.
  @discardableResult
  func run(_ plan: HopperPlan, states: PieceStates = .find) throws -> Tensor? {
    let run = try Run(pass: self, plan: plan)
    let tile = run.tile()
    guard plan.isCut else {
      try run.launch(tile, initialState: initialState, finalState: finalState)
      return nil
    }
    let before: Tensor? =
      switch states {
      case .find: try run.states()
      case .known(let states): states
      case .none: nil
      }
    try run.launch(tile, initialState: before)
    return before
  }

  /// The shape that determines this pass's tile.
  func shape(_ problem: LinearProblem) -> HopperTile.Shape {
    HopperTile.Shape(
      keyDimension: keyDimension, valueDimension: valueDimension, update: update,
      decays: problem.decay != .none && channels == nil, normalizes: normalizes,
      isReversed: isReversed, hasFlows: flows != nil, isStrict: isStrict, isOfWrites: isOfWrites,
      held: held, findsBetas: betas != nil,
      channels: channels == nil ? .none : decaysValues ? .values : .keys,
      isLowRank: problem.update == .lowRank)
  }

  /// How the pass is divided into blocks.
  func tile(_ plan: HopperPlan, hasOutputs: Bool = true) -> HopperTile {
    HopperTile(
      shape(plan.problem), recurrences: plan.recurrences, multiprocessors: plan.multiprocessors,
      hasOutputs: hasOutputs)
  }

  private struct Run {
    let pass: HopperPass
    let plan: HopperPlan
    /// Queries, keys and values as TMA reads them.
    let queries, keys, values: HopperRows

    var problem: LinearProblem { plan.problem }

    init(pass: HopperPass, plan: HopperPlan) throws {
      self.pass = pass
      self.plan = plan
      queries = try HopperRows(pass.queries, plan, pass.queryRows)
      keys = try HopperRows(pass.keys, plan, pass.keyRows)
      values = try HopperRows(pass.values, plan, pass.valueRows)
    }

    func tile(hasOutputs: Bool = true) -> HopperTile {
      pass.tile(plan, hasOutputs: hasOutputs)
    }

    /// The states before the pieces; writes the pass's final state.
    func states() throws -> Tensor {
      let (hv, k, v) = (problem.valueHeads, pass.keyDimension, pass.valueDimension)
      let shape = Shape(
        pass.hasTransposedStates ? [plan.count, hv, v, k] : [plan.count, hv, k, v])
      let effects = try plan.linear.fresh(shape)
      let states = try plan.linear.fresh(shape)
      let channels = pass.channels == nil ? [] : [pass.decaysValues ? v : k]
      let maps = try plan.linear.fresh(
        Shape([plan.count, hv] + (pass.update.isErasing ? [k, k] : channels)))
      try launch(tile(hasOutputs: false), initialState: nil, finalState: effects, maps: maps)
      try join(maps: maps, effects: effects, states: states)
      return states
    }

    func launch(
      _ tile: HopperTile, initialState: Tensor?, finalState: Tensor? = nil, maps: Tensor? = nil
    ) throws {
      let device = plan.queue.device
      var operands = try plan.operands(slices: tile.slices, isReversed: pass.isReversed)
      operands.key_dimension = Int32(pass.keyDimension)
      operands.value_dimension = Int32(pass.valueDimension)
      operands.initial_state = try Tensor.deviceAddress(initialState)
      if let scale = pass.scale { operands.scale = Float(scale) }
      func group(_ tensor: Tensor) -> Int32 { Int32(problem.valueHeads / tensor.shape[2]) }
      let flows = tile.hasOutputs ? pass.flows : nil
      let inverses = pass.inverses?.rows
      let isWayBack = pass.update.isErasing && pass.isReversed
      let erasers = pass.update.isErasing ? pass.channels?.eraserRows : nil
      try withExtendedLifetime((self, flows, inverses, pass.channels)) {
        try plan.queue.launch(
          isWayBack ? "linear/hopper_value_gradients" : "linear/hopper_forward",
          element: problem.dtype, definitions: tile.definitions, isSpecific: true,
          grid: (plan.recurrences * tile.slices, 1, 1), threads: tile.threads,
          sharedBytes: tile.sharedBytes,
          LinearHopperParameters(
            queries: queries.map(on: device), keys: keys.map(on: device),
            values: values.map(on: device),
            partners: flows?.partners?.map(rows: HopperTile.chunk, on: device) ?? TensorMap(),
            inverses: inverses?.map(rows: HopperTile.chunk, on: device) ?? TensorMap(),
            erasers: erasers?.map(on: device) ?? TensorMap(),
            operands: operands, output: LinearRows(pass.output),
            second_output: LinearRows(pass.secondOutput),
            values_copy: LinearRows(pass.valuesCopy),
            final_state: Tensor.deviceAddress(finalState), maps: Tensor.deviceAddress(maps),
            query_group: group(pass.queries), key_group: group(pass.keys),
            value_group: group(pass.values),
            partner_group: group(flows?.partners?.tensor ?? pass.values),
            is_transposed: pass.hasTransposedStates ? 1 : 0,
            flows: LinearFlows(flows, problem), betas: LinearRows(pass.betas),
            levels: Tensor.deviceAddress(pass.channels?.levels),
            edges: Tensor.deviceAddress(pass.channels?.edges), query_rows: queries.held.rawValue,
            key_rows: keys.held.rawValue, value_rows: values.held.rawValue,
            output_rows: pass.outputRows.rawValue,
            scales_second_rows: pass.scalesSecondRows ? 1 : 0))
      }
    }

    func join(maps: Tensor, effects: Tensor, states: Tensor) throws {
      let k = pass.keyDimension
      let isErasing = pass.update.isErasing
      // Additive states may be transposed, because all elements, or whole rows, decay alike.
      let (rows, columns) =
        pass.hasTransposedStates ? (pass.valueDimension, k) : (k, pass.valueDimension)
      try plan.queue.launch(
        "linear/join_pieces",
        definitions: [
          "KEYS=\(rows)", "UPDATE=\(isErasing ? 1 : 0)",
          "CHANNELS=\(pass.channels == nil ? 0 : 1)",
        ],
        blocks: problem.recurrences * columns / linear_join_columns,
        threads: linear_join_threads, sharedBytes: linear_join_bytes(rows, isErasing ? 1 : 0),
        LinearJoinParameters(
          initial_state: Tensor.deviceAddress(pass.initialState), maps: maps.deviceAddress(),
          effects: effects.deviceAddress(), states: states.deviceAddress(),
          final_state: Tensor.deviceAddress(pass.finalState),
          first_pieces: plan.firstPiecesAddress, value_heads: Int32(problem.valueHeads),
          value_dimension: Int32(columns)))
    }
  }
}
