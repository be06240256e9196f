import AttentionCUDA
import AttentionCUDAKernels
import AttentionTensors

/// The flows through tokens, which a pass computes besides its outputs for the gradient of the decay: see
/// `linear/flows.cuh`.
struct HopperFlows {
  /// Tokens of a segment, after which the flow through a chunk is computed anew.
  static let segment = linear_segment_chunks * HopperTile.chunk
  /// A slot for each warp of the groups that share `columns` of the outputs.
  fileprivate static func slots(_ columns: Int) -> Int {
    columns / HopperTile.groupColumns * linear_group_warps
  }

  /// Multiplied with the outputs row by row; nil with decay by channel.
  let partners: DeviceRows?
  /// [slots, b, hv, t]; nil with decay by channel.
  let rows: Tensor?
  /// [slices, b, hv, t], from the pass for dq.
  let pairs: Tensor
  /// [segments, hv, v, k] in bfloat16, in the kernel's own order; nil if another pass has written the states.
  /// With decay by channel a chunk is a segment.
  let states: Tensor?
  /// [segments, hv, slots] or, with decay by channel, [chunks, hv, k], from the pass for dk.
  let products: Tensor

  /// Bytes of the flows of `tokens` tokens, times value heads, with key dimension `k`.
  static func bytes(tokens: Int, k: Int) -> Int {
    let slots = slots(k)
    return tokens * (2 * slots + 1) * MemoryLayout<Float>.size
  }

  /// Allocates the flows of a pass for reads, and of one for keys.
  ///
  /// - Parameters:
  ///   - readers: the rows that read in the first pass, queries or keys [b, t, h, k].
  ///   - keys: the keys of writes, likewise.
  ///   - states: those of another such pass of the same call, if any.
  static func pair(
    _ plan: HopperPlan, of readers: Tensor, keys: Tensor, slices: Int, states known: Tensor? = nil
  ) throws -> HopperFlowPair {
    let (linear, problem) = (plan.linear, plan.problem)
    let slots = slots(problem.keyDimension)
    let (b, hv, t) = (problem.batch, problem.valueHeads, problem.length)
    let pairs = try linear.fresh([slices, b, hv, t])
    let states =
      try known
      ?? linear.fresh([plan.segments, hv, problem.valueDimension, problem.keyDimension], .bfloat16)
    let products = try linear.fresh([plan.segments, hv, slots])
    func flows(_ partners: Tensor, _ states: Tensor?) throws -> HopperFlows {
      HopperFlows(
        partners: try DeviceRows(partners, paddedTo: partners.shape[3]),
        rows: try linear.fresh([slots, b, hv, t]), pairs: pairs,
        states: states, products: products)
    }
    return HopperFlowPair(
      reads: try flows(readers, known == nil ? states : nil), keys: try flows(keys, states))
  }

  /// The same with decay by channel, for both passes.
  ///
  /// - Parameter other: flows of the same call, whose pass for dq writes the states of this pass for dk.
  static func ofChannels(_ plan: HopperPlan, with other: HopperFlows? = nil) throws -> HopperFlows {
    let (linear, problem) = (plan.linear, plan.problem)
    let (k, v, hv) = (problem.keyDimension, problem.valueDimension, problem.valueHeads)
    return HopperFlows(
      partners: nil, rows: nil,
      pairs: try other?.pairs ?? linear.fresh([problem.batch, hv, problem.length]),
      states: try other?.states ?? linear.fresh([plan.chunks, hv, v, k], .bfloat16),
      products: try linear.fresh([plan.chunks, hv, k]))
  }

  /// Bytes of the flows with decay by channel for a problem.
  static func bytesOfChannels(_ problem: LinearProblem) -> Int {
    let (k, v) = (problem.keyDimension, problem.valueDimension)
    let tokens = problem.batch * problem.length * problem.valueHeads
    let single = MemoryLayout<Float>.size
    return tokens * single
      + tokens.pieces(of: HopperTile.chunk) * k * (v * problem.dtype.size + single)
  }
}

extension LinearFlows {
  init(_ flows: HopperFlows?, _ problem: LinearProblem) throws {
    self.init()
    tokens = Int64(problem.batch * problem.length * problem.valueHeads)
    guard let flows else { return }
    rows = try Tensor.deviceAddress(flows.rows)
    pairs = try flows.pairs.deviceAddress()
    states = try Tensor.deviceAddress(flows.states)
    products = try flows.products.deviceAddress()
  }
}

/// The flows of the two passes of a call, for reads and for keys.
struct HopperFlowPair {
  let reads: HopperFlows
  let keys: HopperFlows
}

extension HopperFlowPair {
  /// The gradient of the decay [b, t, hv, 1], by `linear/flow_sums.cu`.
  ///
  /// - Parameters:
  ///   - flows: those to queries and, if the update erases, those to erasing reads.
  ///   - final: the flow behind the sequences [n, hv], zero if nil.
  ///   - tile: that of the passes.
  static func sum(
    _ flows: [HopperFlowPair], final: Tensor?, _ plan: HopperPlan, _ tile: HopperTile
  ) throws -> Tensor {
    let (linear, problem) = (plan.linear, plan.problem)
    let decay = try linear.fresh([problem.batch, problem.length, problem.valueHeads, 1])
    try linear.queue.launch(
      "linear/flow_sums", element: problem.dtype,
      definitions: tile.definitions + ["ERASES=\(flows.count - 1)"], isSpecific: true,
      grid: (plan.recurrences, plan.longest.pieces(of: HopperFlows.segment), 1),
      threads: linear_segment_chunks * warp_threads,
      sharedBytes: 2 * linear_segment_chunks * float_bytes,
      LinearFlowSumsParameters(
        operands: plan.operands(slices: 1), queries: LinearFlowShares(flows[0]),
        erased: LinearFlowShares(flows[flows.count - 1]),
        final_flows: Tensor.deviceAddress(final), decay: LinearRows(decay),
        tokens: Int64(problem.batch * problem.length * problem.valueHeads),
        slots: Int32(HopperFlows.slots(problem.keyDimension)), slices: Int32(tile.slices)))
    return decay
  }
}

extension LinearFlowShares {
  init(_ flows: HopperFlowPair) throws {
    self.init(
      rows: try Tensor.deviceAddress(flows.reads.rows),
      columns: try Tensor.deviceAddress(flows.keys.rows),
      pairs: try flows.reads.pairs.deviceAddress(),
      products: try flows.keys.products.deviceAddress())
  }
}
