import AttentionCUDA
import AttentionCUDAKernels
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
      LinearChannelGatesParameters(
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
      "linear/channel_gradients", slices: k / linear_channel_slice,
      LinearChannelGradientsParameters(
        operands: operands(), queries_gradient: queries.deviceAddress(),
        keys_gradient: keys.deviceAddress(), erasers_gradient: Tensor.deviceAddress(erasers),
        levels: levels.deviceAddress(), crossing: flows.products.deviceAddress(),
        erased_crossing: Tensor.deviceAddress(erased?.products),
        diagonals: flows.pairs.deviceAddress(), decay: LinearRows(decay)))
    return decay
  }

  private func operands() throws -> LinearOperands {
    var operands = try plan.operands(slices: 1)
    operands.queries = try LinearRows(source.queries.tensor)
    operands.keys = try LinearRows(source.keys.tensor)
    operands.decay = try LinearRows(source.decay.tensor)
    return operands
  }

  /// - Parameter slices: blocks that share the channels.
  private func launch(_ kernel: String, slices: Int, _ parameters: some BitwiseCopyable) throws {
    let k = plan.problem.keyDimension
    let tile = HopperTile(
      HopperTile.Shape(
        keyDimension: k, valueDimension: k, update: plan.problem.update, channels: .keys),
      recurrences: 1, multiprocessors: 1)
    let threads = linear_channel_threads(k / slices)
    try plan.queue.launch(
      kernel, element: plan.problem.dtype, definitions: tile.definitions, isSpecific: true,
      grid: (plan.recurrences, plan.longest.pieces(of: HopperTile.chunk), slices),
      threads: threads, sharedBytes: linear_channel_bytes(threads), parameters)
  }
}
