import CUDA
import Tensors

/// A forward pass by `linear/hopper_forward.cu`, of a call without objection to it.
struct HopperForward {
  private let linear: DeviceLinear
  /// Queries, keys and values as the copying unit reads them.
  private let rows: [DeviceRows]
  private let output: Tensor
  private let finalState: Tensor

  private var call: LinearCall { linear.call }
  private var problem: LinearProblem { linear.call.problem }
  private var queue: DeviceQueue { linear.queue }
  private var multiprocessors: Int { queue.device.limits.multiprocessors }

  /// Bytes of output that a thread writes at once.
  private static let chunkBytes: UInt64 = 16

  init(_ call: LinearCall) throws {
    linear = try DeviceLinear(call)
    rows = try [call.queries, call.keys, call.values].map {
      try DeviceRows($0, paddedTo: $0.shape[3])
    }
    let place = try call.places.output.flatMap {
      try $0.deviceAddress() % Self.chunkBytes == 0 ? $0 : nil
    }
    output = try linear.fresh(call.outputShape, call.problem.dtype, into: place)
    finalState = try linear.fresh(call.stateShape, into: call.places.finalState)
  }

  func run() throws -> LinearOutputs {
    let tile = HopperTile(
      problem, recurrences: problem.recurrences, multiprocessors: multiprocessors)
    try launch(
      tile, linear.operands(slices: tile.slices), recurrences: problem.recurrences,
      finalState: finalState)
    return LinearOutputs(output: output, finalState: finalState)
  }

  /// Pieces of the sequences side by side: what each does to the state, then the states before the
  /// pieces one from the other, then the outputs.
  func runSplit() throws -> LinearOutputs {
    let (hv, k, v) = (problem.valueHeads, problem.keyDimension, problem.valueDimension)
    let cut = HopperPieces(call, multiprocessors)
    let pieces = cut.pieces.count
    let sequences = try DeviceSequences(cut.pieces, chunk: HopperTile.chunk, queue)
    let first = try queue.upload(cut.first, "first pieces")
    let ownEffects = try linear.fresh([pieces, hv, k, v])
    let states = try linear.fresh([pieces, hv, k, v])
    let maps = try linear.fresh(problem.update.isErasing ? [pieces, hv, k, k] : [pieces, hv])

    func operands(_ tile: HopperTile, initialState: Tensor?) throws -> DeviceLinear.Operands {
      var operands = try linear.operands(slices: tile.slices)
      operands.sequences = sequences.address
      operands.initialState = try Tensor.deviceAddress(initialState)
      return operands
    }
    let effects = HopperTile(
      problem, recurrences: pieces * hv, multiprocessors: multiprocessors, hasOutputs: false)
    try launch(
      effects, operands(effects, initialState: nil), recurrences: pieces * hv,
      finalState: ownEffects, maps: maps)
    try join(first, maps: maps, effects: ownEffects, states: states)
    let outputs = HopperTile(problem, recurrences: pieces * hv, multiprocessors: multiprocessors)
    try launch(outputs, operands(outputs, initialState: states), recurrences: pieces * hv)
    return LinearOutputs(output: output, finalState: finalState)
  }

  private func launch(
    _ tile: HopperTile, _ operands: DeviceLinear.Operands, recurrences: Int,
    finalState: Tensor? = nil, maps: Tensor? = nil
  ) throws {
    let tensorMaps = try rows.map { try $0.map(rows: HopperTile.chunk, on: queue.device) }
    try withExtendedLifetime(rows) {
      try queue.launch(
        "linear/hopper_forward", element: problem.dtype, definitions: tile.definitions,
        isSpecific: true, grid: (recurrences * tile.slices, 1, 1), threads: tile.threads,
        sharedBytes: tile.sharedBytes,
        Parameters(
          queries: tensorMaps[0], keys: tensorMaps[1], values: tensorMaps[2], operands: operands,
          output: DeviceTokenRows(output), finalState: Tensor.deviceAddress(finalState),
          maps: Tensor.deviceAddress(maps)))
    }
  }

  /// As `linear/hopper_forward.cu` declares it.
  private struct Parameters: BitwiseCopyable {
    var queries: TensorMap
    var keys: TensorMap
    var values: TensorMap
    var operands: DeviceLinear.Operands
    var output: DeviceTokenRows
    var finalState: UInt64
    var maps: UInt64
  }

  /// Columns of a block of `linear/join_pieces.cu`, and its threads.
  private static let (joinedColumns, joiningThreads) = (16, 256)

  private func join(_ first: DeviceMemory, maps: Tensor, effects: Tensor, states: Tensor) throws {
    let (hv, k) = (problem.valueHeads, problem.keyDimension)
    let isErasing = problem.update.isErasing
    // The state, and two maps.
    let floats = k * Self.joinedColumns + (isErasing ? 2 * k * k : 0)
    try queue.launch(
      "linear/join_pieces",
      definitions: ["KEYS=\(k)", "UPDATE=\(problem.update.kernelNumber)"],
      blocks: problem.recurrences * problem.valueDimension / Self.joinedColumns,
      threads: Self.joiningThreads, sharedBytes: floats * MemoryLayout<Float>.size,
      JoinParameters(
        initialState: Tensor.deviceAddress(call.initialState), maps: maps.deviceAddress(),
        effects: effects.deviceAddress(), states: states.deviceAddress(),
        finalState: finalState.deviceAddress(), firstPieces: first.address, valueHeads: Int32(hv),
        valueDimension: Int32(problem.valueDimension)))
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
