import CUDA
import Tensors

/// A pass over the tokens by `linear/hopper_forward.cu`: linear attention of these queries, keys and values with
/// the call's decay, from the first token to the last or from the last to the first.
///
/// The backward pass consists of such passes, of other tensors in other roles.
struct HopperPass {
  /// [b, t, heads, d] each, of heads that divide the call's value heads; keys as wide as the queries.
  let queries, keys, values: Tensor
  /// [b, t, hv, as the values]
  let output: Tensor
  var update = LinearProblem.Update.additive
  var isReversed = false
  /// Whether queries and keys are scaled to unit length.
  var normalizes = false
  var initialState: Tensor?
  var finalState: Tensor?
  /// Whether states are [n, hv, values, keys] in memory, and not [n, hv, keys, values].
  var hasTransposedStates = false
  /// What it finds for the gradient of the decay.
  var flows: HopperFlows?
  /// Multiplies the queries; nil is the call's.
  var scale: Double?
  /// Whether a token's query does not see its own key.
  var isStrict = false
  /// Whether queries, and keys, are multiplied by β.
  var hasQueryBetas = false
  var hasKeyBetas = false
  /// Whether the outputs are the delta rule's corrections, which multiplied by β are what is written.
  var isOfCorrections = false
}

extension HopperPass {
  private var keyDimension: Int { keys.shape[3] }
  private var valueDimension: Int { values.shape[3] }

  /// Runs the pass for a call on `linear`'s queue.
  func run(_ linear: DeviceLinear) throws { try Run(pass: self, linear: linear).whole() }

  /// Runs it with sequences cut into pieces that are worked on side by side: what each does to the state, then the
  /// states before the pieces one from the other, then the outputs.
  ///
  /// - Parameter states: those before the pieces, where another pass has found them.
  /// - Returns: those states, [pieces, …] as the initial one.
  @discardableResult
  func runInPieces(_ linear: DeviceLinear, states: Tensor? = nil) throws -> Tensor {
    try Run(pass: self, linear: linear).inPieces { try states ?? $0.states($1, $2) }!
  }

  /// The same where every piece begins with nothing.
  func runInPiecesFromNothing(_ linear: DeviceLinear) throws {
    try Run(pass: self, linear: linear).inPieces { _, _, _ in nil }
  }

  /// What a tile of this pass is chosen by.
  func shape(_ problem: LinearProblem) -> HopperTile.Shape {
    HopperTile.Shape(
      keyDimension: keyDimension, valueDimension: valueDimension, update: update,
      decays: problem.decay != .none, normalizes: normalizes, isReversed: isReversed,
      hasFlows: flows != nil, isStrict: isStrict, hasQueryBetas: hasQueryBetas,
      hasKeyBetas: hasKeyBetas, isOfCorrections: isOfCorrections)
  }

  private struct Run {
    let pass: HopperPass
    let linear: DeviceLinear
    /// Queries, keys and values as the copying unit reads them.
    let rows: [DeviceRows]

    var problem: LinearProblem { linear.call.problem }
    var queue: DeviceQueue { linear.queue }
    var multiprocessors: Int { queue.device.limits.multiprocessors }

    init(pass: HopperPass, linear: DeviceLinear) throws {
      self.pass = pass
      self.linear = linear
      rows = try [pass.queries, pass.keys, pass.values].map {
        try DeviceRows($0, paddedTo: $0.shape[3])
      }
    }

    /// Whether it is the delta rule's way back.
    var isOfGradients: Bool { pass.update.isErasing && pass.isReversed }

    func tile(recurrences: Int, hasOutputs: Bool = true) -> HopperTile {
      HopperTile(
        pass.shape(problem), recurrences: recurrences, multiprocessors: multiprocessors,
        hasOutputs: hasOutputs)
    }

    func whole() throws {
      let tile = tile(recurrences: problem.recurrences)
      try launch(
        tile, operands(tile, initialState: pass.initialState), recurrences: problem.recurrences,
        finalState: pass.finalState)
    }

    @discardableResult
    func inPieces(_ findStates: (Run, HopperPieces, DeviceSequences) throws -> Tensor?) throws
      -> Tensor?
    {
      let hv = problem.valueHeads
      let cut = HopperPieces(linear.call, multiprocessors, isReversed: pass.isReversed)
      let pieces = cut.pieces.count
      let sequences = try DeviceSequences(
        cut.pieces, firstChunks: cut.firstSegments, chunks: cut.segments, queue)
      let states = try findStates(self, cut, sequences)
      let outputs = tile(recurrences: pieces * hv)
      try launch(
        outputs, operands(outputs, initialState: states, sequences), recurrences: pieces * hv)
      return states
    }

    /// The states before the pieces; writes the pass's final state.
    func states(_ cut: HopperPieces, _ sequences: DeviceSequences) throws -> Tensor {
      let (hv, k, v) = (problem.valueHeads, pass.keyDimension, pass.valueDimension)
      let pieces = cut.pieces.count
      let first = try queue.upload(cut.first, "first pieces")
      let shape = Shape(pass.hasTransposedStates ? [pieces, hv, v, k] : [pieces, hv, k, v])
      let ownEffects = try linear.fresh(shape)
      let states = try linear.fresh(shape)
      let maps = try linear.fresh(pass.update.isErasing ? [pieces, hv, k, k] : [pieces, hv])
      let effects = tile(recurrences: pieces * hv, hasOutputs: false)
      try launch(
        effects, operands(effects, initialState: nil, sequences), recurrences: pieces * hv,
        finalState: ownEffects, maps: maps)
      try join(first, maps: maps, effects: ownEffects, states: states)
      return states
    }

    /// What the kernel reads, in this pass's roles.
    func operands(
      _ tile: HopperTile, initialState: Tensor?, _ sequences: DeviceSequences? = nil
    ) throws -> DeviceLinear.Operands {
      var operands = try linear.operands(slices: tile.slices)
      operands.keyDimension = Int32(pass.keyDimension)
      operands.valueDimension = Int32(pass.valueDimension)
      if let scale = pass.scale { operands.scale = Float(scale) }
      operands.initialState = try Tensor.deviceAddress(initialState)
      if let sequences { operands.sequences = sequences.address }
      return operands
    }

    func launch(
      _ tile: HopperTile, _ operands: DeviceLinear.Operands, recurrences: Int,
      finalState: Tensor? = nil, maps: Tensor? = nil
    ) throws {
      let tensorMaps = try rows.map { try $0.map(rows: HopperTile.chunk, on: queue.device) }
      func group(_ tensor: Tensor) -> Int32 { Int32(problem.valueHeads / tensor.shape[2]) }
      let flows = tile.hasOutputs ? pass.flows : nil
      try withExtendedLifetime((rows, flows)) {
        try queue.launch(
          isOfGradients ? "linear/hopper_corrections" : "linear/hopper_forward",
          element: problem.dtype, definitions: tile.definitions,
          isSpecific: true, grid: (recurrences * tile.slices, 1, 1), threads: tile.threads,
          sharedBytes: tile.sharedBytes,
          Parameters(
            queries: tensorMaps[0], keys: tensorMaps[1], values: tensorMaps[2],
            partners: flows?.partners.map(rows: HopperTile.chunk, on: queue.device)
              ?? tensorMaps[2],
            operands: operands, output: DeviceTokenRows(pass.output),
            finalState: Tensor.deviceAddress(finalState), maps: Tensor.deviceAddress(maps),
            queryGroup: group(pass.queries), keyGroup: group(pass.keys),
            valueGroup: group(pass.values),
            partnerGroup: group(flows?.partners.tensor ?? pass.values),
            isTransposed: pass.hasTransposedStates ? 1 : 0,
            flows: HopperFlows.Addresses(flows, problem)))
      }
    }

    /// Columns of a block of `linear/join_pieces.cu`, and its threads.
    static let (joinedColumns, joiningThreads) = (16, 256)

    func join(_ first: DeviceMemory, maps: Tensor, effects: Tensor, states: Tensor) throws {
      let k = pass.keyDimension
      let isErasing = pass.update.isErasing
      // Additive states may as well be transposed: all their numbers decay alike.
      let (rows, columns) =
        pass.hasTransposedStates ? (pass.valueDimension, k) : (k, pass.valueDimension)
      // The state, and two maps.
      let floats = rows * Self.joinedColumns + (isErasing ? 2 * k * k : 0)
      try queue.launch(
        "linear/join_pieces",
        definitions: ["KEYS=\(rows)", "UPDATE=\(pass.update.kernelNumber)"],
        blocks: problem.recurrences * columns / Self.joinedColumns,
        threads: Self.joiningThreads, sharedBytes: floats * MemoryLayout<Float>.size,
        JoinParameters(
          initialState: Tensor.deviceAddress(pass.initialState), maps: maps.deviceAddress(),
          effects: effects.deviceAddress(), states: states.deviceAddress(),
          finalState: Tensor.deviceAddress(pass.finalState), firstPieces: first.address,
          valueHeads: Int32(problem.valueHeads), valueDimension: Int32(columns)))
    }
  }

  /// As `linear/hopper_forward.cu` declares it.
  private struct Parameters: BitwiseCopyable {
    var queries: TensorMap
    var keys: TensorMap
    var values: TensorMap
    var partners: TensorMap
    var operands: DeviceLinear.Operands
    var output: DeviceTokenRows
    var finalState: UInt64
    var maps: UInt64
    var queryGroup: Int32
    var keyGroup: Int32
    var valueGroup: Int32
    var partnerGroup: Int32
    var isTransposed: Int32
    var unused: Int32 = 0
    var flows: HopperFlows.Addresses
  }

  /// As `linear/join_pieces.cu` declares it.
  private struct JoinParameters: BitwiseCopyable {
    var initialState: UInt64
    var maps: UInt64
    var effects: UInt64
    var states: UInt64
    var finalState: UInt64
    var firstPieces: UInt64
    var valueHeads: Int32
    var valueDimension: Int32
  }
}
