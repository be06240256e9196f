import AttentionCUDA
import AttentionCUDAKernels
import AttentionTensors

/// Queries and keys multiplied by the decays by channel, by `linear/channel_gates.cu`, after which passes
/// over tokens need only the decay of the state between chunks. With low-rank updates they are rows of
/// `linear/low_rank_gates.cu`.
struct HopperChannels {
  /// q̂ and k̂ [b, t, hv, k]; with low-rank updates b̂ and k̂ are the keys [b, 2 t, hv, k].
  let queries, keys: Tensor
  /// ǩ [b, t, hv, k], for erasing updates; with low-rank updates −â.
  let eraserRows: HopperRows?
  var erasers: Tensor? { eraserRows?.tensor }
  /// −â and q̂ of low-rank updates [b, 2 t, hv, k].
  let reads: Tensor?
  /// How often each chunk is halved, bytes [chunks, hv].
  let levels: Tensor
  /// [chunks, hv, 2, k]: a channel's decay before the middle of the chunk's decay, and after it.
  let edges: Tensor
  /// The inputs, in the form that kernels read.
  private let source: (queries: DeviceRows, keys: DeviceRows, decay: DeviceRows)
  /// Those of a low-rank update, a and b.
  private let update: [DeviceRows]
  private let plan: HopperPlan

  /// - Parameters:
  ///   - queries, keys: [b, t, h, k] in half precision.
  init(_ plan: HopperPlan, queries: Tensor, keys: Tensor) throws {
    guard let decay = plan.call.decay else { preconditionFailure("the problem has a decay") }
    self.plan = plan
    let (linear, problem) = (plan.linear, plan.problem)
    let (hv, k) = (problem.valueHeads, problem.keyDimension)
    let shape: Shape = [problem.batch, plan.source.problem.length, hv, k]
    source = (
      try DeviceRows(queries, paddedTo: k), try DeviceRows(keys, paddedTo: k),
      try DeviceRows(decay, paddedTo: k)
    )
    update =
      plan.isLowRank
      ? try plan.call.update.tensors.map {
        try DeviceRows($0.cast(to: problem.dtype), paddedTo: k)
      } : []
    let rows: Shape = [problem.batch, problem.length, hv, k]
    self.keys = try linear.fresh(rows, problem.dtype)
    reads = plan.isLowRank ? try linear.fresh(rows, problem.dtype) : nil
    if let reads {
      self.queries = try LowRankRows.second.of(reads)
      eraserRows = try HopperRows(LowRankRows.first.of(reads), plan, .first)
    } else {
      self.queries = try linear.fresh(shape, problem.dtype)
      eraserRows =
        try problem.update.isErasing
        ? HopperRows(linear.fresh(shape, problem.dtype), plan) : nil
    }
    levels = try linear.fresh([plan.chunks, hv], .bool)
    edges = try linear.fresh([plan.chunks, hv, 2, k])
    if let reads {
      try launch(
        "linear/low_rank_gates", slices: 1,
        LinearLowRankGatesParameters(
          operands: operands(), reads: reads.deviceAddress(), writes: self.keys.deviceAddress(),
          levels: levels.deviceAddress(), edges: edges.deviceAddress()))
      return
    }
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
  ///   - final: the flow behind the sequences [n, hv, k], zero if nil.
  ///   - erasers: the negated gradient of ǩ, and `erased`: the flow to it.
  func gradients(
    queries: Tensor, keys: Tensor, flows: HopperFlows, final: Tensor?, erasers: Tensor? = nil,
    erased: HopperFlows? = nil
  ) throws -> Tensor {
    let k = plan.problem.keyDimension
    let decay = try decayGradient(queries.shape)
    try launch(
      "linear/channel_gradients", slices: k / linear_channel_slice,
      LinearChannelGradientsParameters(
        operands: operands(), queries_gradient: queries.deviceAddress(),
        keys_gradient: keys.deviceAddress(), erasers_gradient: Tensor.deviceAddress(erasers),
        levels: levels.deviceAddress(), crossing: flows.products.deviceAddress(),
        erased_crossing: Tensor.deviceAddress(erased?.products),
        final_crossing: Tensor.deviceAddress(final),
        diagonals: flows.pairs.deviceAddress(), decay: LinearRows(decay)))
    return decay
  }

  /// The gradients of queries, keys, a, b and decay [b, t, hv, k] of a low-rank update.
  ///
  /// - Parameters:
  ///   - reads: the gradients of −â and q̂ [b, 2 t, hv, k], without the pairs of a row with itself.
  ///   - writes: those of b̂ and k̂, likewise.
  ///   - final: the flow behind the sequences [n, hv, k], zero if nil.
  func lowRankGradients(reads: Tensor, writes: Tensor, flows: HopperFlows, final: Tensor?) throws
    -> LinearGradients
  {
    let problem = plan.problem
    let shape: Shape = [
      problem.batch, plan.source.problem.length, problem.valueHeads, problem.keyDimension,
    ]
    let wanted = plan.call.destinations.gradients
    var found: LinearGradients = [.decay: try decayGradient(shape)]
    for input in [LinearInput.queries, .keys, .lowRankA, .lowRankB] {
      found[input] = try plan.result(shape, wanted[input])
    }
    try launch(
      "linear/low_rank_gradients", slices: problem.keyDimension / linear_channel_slice,
      LinearLowRankGradientsParameters(
        operands: operands(), reads_gradient: reads.deviceAddress(),
        writes_gradient: writes.deviceAddress(),
        queries_gradient: Tensor.deviceAddress(found[.queries]),
        a_gradient: Tensor.deviceAddress(found[.lowRankA]),
        b_gradient: Tensor.deviceAddress(found[.lowRankB]),
        keys_gradient: Tensor.deviceAddress(found[.keys]), levels: levels.deviceAddress(),
        crossing: flows.products.deviceAddress(), final_crossing: Tensor.deviceAddress(final),
        diagonals: flows.pairs.deviceAddress(), decay: LinearRows(found[.decay])))
    return found
  }

  /// Memory for the gradient of the decay [b, t, hv, k], in its own dtype.
  private func decayGradient(_ shape: Shape) throws -> Tensor {
    let dtype = source.decay.tensor.dtype
    // Pairs of numbers are written at once.
    let place = try plan.call.destinations.gradients[.decay].flatMap {
      try $0.shape == shape && $0.deviceAddress() % UInt64(2 * dtype.size) == 0 ? $0 : nil
    }
    return try plan.linear.fresh(shape, dtype, into: place)
  }

  private func operands() throws -> LinearOperands {
    var operands = try plan.operands(slices: 1)
    operands.queries = try LinearRows(source.queries.tensor)
    operands.keys = try LinearRows(source.keys.tensor)
    operands.decay = try LinearRows(source.decay.tensor)
    if let a = update.first, let b = update.last {
      operands.first_update = try LinearRows(a.tensor)
      operands.second_update = try LinearRows(b.tensor)
    }
    return operands
  }

  /// - Parameter slices: blocks that share the channels.
  private func launch(_ kernel: String, slices: Int, _ parameters: some BitwiseCopyable) throws {
    let k = plan.problem.keyDimension
    let tile = HopperTile(
      HopperTile.Shape(
        keyDimension: k, valueDimension: k, update: plan.problem.update, channels: .keys,
        isLowRank: plan.isLowRank),
      recurrences: 1, multiprocessors: 1)
    let threads = linear_channel_threads(k / slices)
    try plan.queue.launch(
      kernel, element: plan.problem.dtype, definitions: tile.definitions, isSpecific: true,
      grid: (plan.recurrences, plan.longest.pieces(of: HopperTile.chunk), slices),
      threads: threads, sharedBytes: linear_channel_bytes(threads), parameters)
  }
}
