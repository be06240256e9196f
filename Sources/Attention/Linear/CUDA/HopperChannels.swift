import AttentionCUDA
import AttentionTensors

/// Queries and keys multiplied by the decays by channel, by `linear/channel_gates.cu`, after which passes
/// over tokens need only the decay of the state between chunks.
struct HopperChannels {
  /// q̂ and k̂ [b, t, hv, k]
  let queries, keys: Tensor
  /// ǩ, likewise, for erasing updates.
  let eraserRows: DeviceRows?
  var erasers: Tensor? { eraserRows?.tensor }
  /// How often each chunk is halved, bytes [chunks, hv].
  let levels: Tensor
  /// [chunks, hv, 2, k]: a channel's decay before the middle of the chunk's decay, and after it.
  let edges: Tensor
  /// The inputs, in the form that kernels read.
  private let source: (queries: DeviceRows, keys: DeviceRows, decay: DeviceRows)
  private let plan: HopperPlan

  /// Threads per pair of channels.
  private static let parts = 8
  /// Channels per block of the kernel that computes gradients.
  private static let slice = 64

  /// - Parameters:
  ///   - queries, keys: [b, t, h, k] in half precision.
  init(_ plan: HopperPlan, queries: Tensor, keys: Tensor) throws {
    guard let decay = plan.call.decay else { preconditionFailure("the problem has a decay") }
    self.plan = plan
    let (linear, problem) = (plan.linear, plan.problem)
    let (hv, k) = (problem.valueHeads, problem.keyDimension)
    let shape: Shape = [problem.batch, problem.length, hv, k]
    source = (
      try DeviceRows(queries, paddedTo: k), try DeviceRows(keys, paddedTo: k),
      try DeviceRows(decay, paddedTo: k)
    )
    self.queries = try linear.fresh(shape, problem.dtype)
    self.keys = try linear.fresh(shape, problem.dtype)
    eraserRows =
      try problem.update.isErasing
      ? DeviceRows(linear.fresh(shape, problem.dtype), paddedTo: k) : nil
    levels = try linear.fresh([plan.chunks, hv], .bool)
    edges = try linear.fresh([plan.chunks, hv, 2, k])
    try launch(
      "linear/channel_gates", slices: 1,
      Parameters(
        operands: operands(), queries: self.queries.deviceAddress(),
        keys: self.keys.deviceAddress(), erasers: Tensor.deviceAddress(erasers),
        levels: levels.deviceAddress(),
        edges: edges.deviceAddress()))
  }

  /// Bytes of these arrays for `problem`.
  static func bytes(_ problem: LinearProblem) -> Int {
    let tokens = problem.batch * problem.length * problem.valueHeads
    let edges = tokens.pieces(of: HopperTile.chunk) * 2 * MemoryLayout<Float>.size
    let rows = problem.update.isErasing ? 3 : 2
    return (tokens * rows * problem.dtype.size + edges) * problem.keyDimension
  }

  /// Computes the gradient of the decay, in its own dtype, and replaces the gradients of q̂ and k̂, without
  /// the pairs of a token with itself, by those of queries and keys [b, t, hv, k].
  ///
  /// - Parameters:
  ///   - erasers: the negated gradient of ǩ, and `erased`: the flow to it.
  func gradients(
    queries: Tensor, keys: Tensor, flows: HopperFlows, erasers: Tensor? = nil,
    erased: HopperFlows? = nil
  ) throws -> Tensor {
    let k = plan.problem.keyDimension
    let dtype = source.decay.tensor.dtype
    // Pairs of numbers are written at once.
    let place = try plan.call.destinations.gradients[.decay].flatMap {
      try $0.shape == queries.shape && $0.deviceAddress() % UInt64(2 * dtype.size) == 0 ? $0 : nil
    }
    let decay = try plan.linear.fresh(queries.shape, dtype, into: place)
    try launch(
      "linear/channel_gradients", slices: k / Self.slice,
      GradientParameters(
        operands: operands(), queriesGradient: queries.deviceAddress(),
        keysGradient: keys.deviceAddress(), erasersGradient: Tensor.deviceAddress(erasers),
        levels: levels.deviceAddress(), crossing: flows.products.deviceAddress(),
        erasedCrossing: Tensor.deviceAddress(erased?.products),
        diagonals: flows.pairs.deviceAddress(),
        decay: DeviceTokenRows(decay)))
    return decay
  }

  private func operands() throws -> DeviceLinear.Operands {
    var operands = try plan.operands(slices: 1)
    operands.queries = try DeviceTokenRows(source.queries.tensor)
    operands.keys = try DeviceTokenRows(source.keys.tensor)
    operands.decay = try DeviceTokenRows(source.decay.tensor)
    return operands
  }

  /// - Parameter slices: blocks that share the channels.
  private func launch(_ kernel: String, slices: Int, _ parameters: some BitwiseCopyable) throws {
    let k = plan.problem.keyDimension
    let tile = HopperTile(
      HopperTile.Shape(
        keyDimension: k, valueDimension: k, update: plan.problem.update, channels: .keys),
      recurrences: 1, multiprocessors: 1)
    let threads = Self.parts * k / 2 / slices
    try plan.queue.launch(
      kernel, element: plan.problem.dtype, definitions: tile.definitions, isSpecific: true,
      grid: (plan.recurrences, plan.longest.pieces(of: HopperTile.chunk), slices),
      threads: threads, sharedBytes: Self.sharedBytes(threads), parameters)
  }

  /// Three pairs of floats per thread, and a level per warp.
  private static func sharedBytes(_ threads: Int) -> Int {
    threads * 3 * 2 * MemoryLayout<Float>.size
      + threads / LinearTile.threadsPerWarp * MemoryLayout<Int32>.size
  }

  /// As declared in `linear/channel_gates.cu`.
  private struct Parameters: BitwiseCopyable {
    var operands: DeviceLinear.Operands
    var queries: UInt64
    var keys: UInt64
    var erasers: UInt64
    var levels: UInt64
    var edges: UInt64
  }

  /// As declared in `linear/channel_gradients.cu`.
  private struct GradientParameters: BitwiseCopyable {
    var operands: DeviceLinear.Operands
    var queriesGradient: UInt64
    var keysGradient: UInt64
    var erasersGradient: UInt64
    var levels: UInt64
    var crossing: UInt64
    var erasedCrossing: UInt64
    var diagonals: UInt64
    var decay: DeviceTokenRows
  }
}
