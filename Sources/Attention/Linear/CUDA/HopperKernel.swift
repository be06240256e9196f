import AttentionCUDA
import AttentionTensors

/// Linear attention on Hopper in chunks of 64 tokens: additive updates and the delta rule, with a decay per token, per
/// head, per channel or none, and low-rank updates with a decay per channel, in bfloat16. The state stays in registers as the left operand of the matrix
/// instructions; states and sums are float32.
struct HopperKernel: LinearKernel {
  /// Whether sequences are split into pieces that are processed in parallel: for few long ones.
  let splits: Bool

  var name: String { splits ? "cuda.hopper.split" : "cuda.hopper" }

  /// The compute capability whose instructions it uses.
  private static let capability = 90
  /// The key dimensions that it is compiled for.
  static let keyDimensions = [64, 128]
  /// The most chunks of a sequence.
  private static let mostChunks = 65535
  /// The seconds that a block takes per chunk, with erasing and with additive updates (on an H200).
  private static func chunkSeconds(_ isErasing: Bool) -> Double { isErasing ? 4.2e-6 : 2.1e-6 }
  /// Launches and their preparation.
  private static let overhead = 8e-6
  private static let splitOverhead = 25e-6
  /// Seconds per byte of queries and keys that are multiplied by decays by channel; as many bytes are read.
  private static let channelSeconds = 1e-12
  /// The backward pass's share of the portable kernels' time for both passes.
  private static let shareOfBackward = 0.8
  /// Multiprocessors of an H200, for estimates without one.
  private static let nominalMultiprocessors = 132

  func objection(to device: Device) -> Objection? { .unlessGPU(device) }

  func objection(to problem: LinearProblem) -> Objection? {
    if problem.dtype != .bfloat16 {
      return Objection("needs bfloat16 inputs, was \(problem.dtype.rawValue)")
    }
    if ![.additive, .delta, .lowRank].contains(problem.update) {
      return Objection(
        "the update is \(problem.update.rawValue); needs additive, delta or low rank")
    }
    if problem.update == .lowRank && problem.decay != .perChannel {
      return Objection("decay \(problem.decay.rawValue); needs per channel with a low-rank update")
    }
    if !Self.keyDimensions.contains(problem.keyDimension) {
      return Objection("key dimension \(problem.keyDimension); needs 64 or 128")
    }
    if problem.valueDimension % HopperTile.groupColumns != 0 {
      return Objection("value dimension \(problem.valueDimension); needs a multiple of 64")
    }
    if let limits = Self.limits(problem), limits.capability != Self.capability {
      return Objection("needs compute capability 9.0, \(limits.name) has \(limits.capability)")
    }
    let rows = problem.inRows
    let pieces = splits ? HopperPieces.count(rows, Self.multiprocessors(problem)) : 1
    if splits, pieces < 2 {
      return Objection(
        "\(problem.length) tokens and \(problem.recurrences) recurrences leave nothing to split")
    }
    let slices = (problem.valueDimension + problem.keyDimension) / HopperTile.groupColumns
    // The chunks of a sequence are blocks along an axis of the grid, which is limited.
    if rows.length.pieces(of: HopperTile.chunk) > Self.mostChunks {
      let most = Self.mostChunks * HopperTile.chunk * problem.length / rows.length
      return Objection("\(problem.length) tokens; it takes at most \(most)")
    }
    if let objection = Objection.beyondGrid(
      tokens: rows.batch * rows.length,
      blocks: max(problem.recurrences * pieces * slices, problem.valueDimension))
    {
      return objection
    }
    return problem.needsGradient && !HopperBackward.serves(problem)
      ? DeviceChunked.objection(to: problem, passes: [.backward]) : nil
  }

  func cost(of call: LinearProblem) -> Cost {
    let problem = call.inRows
    let multiprocessors = Self.multiprocessors(problem)
    let isErasing = problem.update.isErasing
    let chunks = (problem.batch * problem.length).pieces(of: max(1, problem.sequences))
      .pieces(of: HopperTile.chunk)
    let count = splits ? HopperPieces.count(problem, multiprocessors) : 1
    /// The number of chunks processed one after the other, if every block processes those of a piece.
    func rounds(_ shape: HopperTile.Shape, hasOutputs: Bool) -> Double {
      let tile = HopperTile(
        shape, recurrences: problem.recurrences * count, multiprocessors: multiprocessors,
        hasOutputs: hasOutputs)
      let blocks = problem.recurrences * count * tile.slices
      return Double(blocks.pieces(of: multiprocessors) * chunks.pieces(of: count))
    }
    func seconds(_ shape: HopperTile.Shape) -> Double {
      let all = rounds(shape, hasOutputs: true) + (splits ? rounds(shape, hasOutputs: false) : 0)
      return all * Self.chunkSeconds(shape.update.isErasing)
        + (splits ? Self.splitOverhead : Self.overhead)
    }
    let forward = HopperTile.Shape(
      keyDimension: problem.keyDimension, valueDimension: problem.valueDimension,
      update: problem.update)
    let states = splits ? problem.recurrences * count * problem.keyDimension : 0
    // One row of an inverse per token.
    let inverses =
      isErasing ? problem.batch * problem.length * problem.valueHeads * HopperTile.chunk : 0
    var cost = Cost(
      operations: 0, bytes: call.bytes,
      extraMemory: states * (problem.valueDimension + (isErasing ? problem.keyDimension : 0))
        * MemoryLayout<Float>.size + inverses * problem.dtype.size,
      efficiency: 1, overhead: seconds(forward), pieces: 1)
    if problem.decay == .perChannel {
      let passes = problem.needsGradient ? 3.0 : 1
      cost.extraMemory += HopperChannels.bytes(problem)
      cost.overhead +=
        passes * (Double(HopperChannels.bytes(problem)) * Self.channelSeconds + Self.overhead)
    }
    guard problem.needsGradient else { return cost }
    if HopperBackward.serves(problem) {
      cost.overhead += HopperBackward.shapes(problem).map(seconds).reduce(0, +)
      cost.extraMemory += HopperBackward.extraBytes(problem)
      return cost
    }
    // The backward pass is the portable kernels'.
    let portable = DeviceChunked(erases: isErasing).cost(of: call)
    cost.overhead += portable.overhead * Self.shareOfBackward
    cost.extraMemory += portable.extraMemory
    return cost
  }

  private static func limits(_ problem: LinearProblem) -> DeviceLimits? {
    guard case .cuda(let index) = problem.device else { return nil }
    return try? CUDADevice.at(index).limits
  }

  private static func multiprocessors(_ problem: LinearProblem) -> Int {
    limits(problem)?.multiprocessors ?? nominalMultiprocessors
  }

  func forward(_ call: LinearArguments) throws -> LinearOutputs {
    let problem = call.problem
    let plan = try HopperPlan(call, splits: splits, goesBack: false)
    let output = try plan.result(call.outputShape, call.destinations.outputs[.output])
    let finalState = try plan.linear.fresh(
      call.stateShape, into: call.destinations.outputs[.finalState])
    let held = plan.isLowRank ? LowRankRows.second : .all
    let normalizes = problem.normalizesQueriesAndKeys
    if problem.decay == .perChannel {
      func read(_ rows: Tensor) throws -> Tensor {
        try normalizes ? UnitRows(rows).run(plan.queue) : rows
      }
      let channels = try HopperChannels(
        plan, queries: read(call.queries), keys: read(call.keys))
      let inverses =
        try problem.update.isErasing
        ? HopperInverses(
          plan, keys: channels.keys, normalizes: false, isOfGradients: false, channels: channels)
        : nil
      let pass = HopperPass(
        queries: channels.queries, keys: channels.keys, values: call.values, output: output,
        update: problem.update, initialState: call.initialState, finalState: finalState,
        inverses: inverses, channels: channels, queryRows: held, valueRows: held,
        outputRows: held)
      try pass.run(plan)
      return [.output: output, .finalState: finalState]
    }
    let inverses =
      try problem.update.isErasing
      ? HopperInverses(plan, keys: call.keys, normalizes: normalizes, isOfGradients: false) : nil
    let pass = HopperPass(
      queries: call.queries, keys: call.keys, values: call.values, output: output,
      update: problem.update, normalizes: normalizes, initialState: call.initialState,
      finalState: finalState, inverses: inverses)
    try pass.run(plan)
    return [.output: output, .finalState: finalState]
  }

  func backward(
    _ call: LinearArguments, _ outputs: LinearOutputs, _ incoming: LinearOutputs
  ) throws -> LinearGradients {
    if HopperBackward.serves(call.problem) {
      return try HopperBackward(call, splits: splits).run(
        finalState: outputs[.finalState], outputGradient: incoming[.output],
        finalStateGradient: incoming[.finalState])
    }
    return try DeviceChunked(erases: call.problem.update.isErasing).backward(
      call, outputs, incoming)
  }
}
