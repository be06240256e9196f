import AttentionCUDA
import AttentionTensors

/// What a pass finds, beside its outputs, for the gradient of the decay: what passes through tokens, as
/// `linear/flows.cuh` has it.
struct HopperFlows {
  /// Tokens of a segment, after which what passes is found anew.
  static let segment = 8 * HopperTile.chunk
  /// Warps of the group that has 64 columns of the outputs.
  fileprivate static let warps = 4

  /// What is multiplied with the outputs row by row; nil where channels decay.
  let partners: DeviceRows?
  /// [slots, b, hv, t]; nil where channels decay.
  let rows: Tensor?
  /// [slices, b, hv, t], of the pass for dq.
  let pairs: Tensor
  /// [segments, hv, v, k] in bfloat16, in an order of the kernel's own; nil of a pass whose states another one has
  /// written. Where channels decay a chunk is a segment.
  let states: Tensor?
  /// [segments, hv, slots] or, where channels decay, [chunks, hv, k], of the pass for dk.
  let products: Tensor

  /// Bytes of what passes for `tokens` tokens, times value heads, of keys of `k` numbers.
  static func bytes(tokens: Int, k: Int) -> Int {
    let slots = k / HopperTile.groupColumns * warps
    return tokens * (2 * slots + 1) * MemoryLayout<Float>.size
  }

  /// Memory for a pass for what is read, and for one for keys.
  ///
  /// - Parameters:
  ///   - readers: what reads in the first pass, as queries or keys [b, t, h, k].
  ///   - keys: what is written under, likewise.
  ///   - states: those of another such pass of the same call, if there is one.
  static func pair(
    _ plan: HopperPlan, of readers: Tensor, keys: Tensor, slices: Int, states known: Tensor? = nil
  ) throws -> HopperFlowPair {
    let (linear, problem) = (plan.linear, plan.problem)
    let slots = problem.keyDimension / HopperTile.groupColumns * warps
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

  /// The same where channels decay, for both passes.
  ///
  /// - Parameter other: flows of the same call, of whose pass for dq this one's pass for dk reads the states.
  static func ofChannels(_ plan: HopperPlan, with other: HopperFlows? = nil) throws -> HopperFlows {
    let (linear, problem) = (plan.linear, plan.problem)
    let (k, v, hv) = (problem.keyDimension, problem.valueDimension, problem.valueHeads)
    return HopperFlows(
      partners: nil, rows: nil,
      pairs: try other?.pairs ?? linear.fresh([problem.batch, hv, problem.length]),
      states: try other?.states ?? linear.fresh([plan.chunks, hv, v, k], .bfloat16),
      products: try linear.fresh([plan.chunks, hv, k]))
  }

  /// Bytes of that for a problem.
  static func bytesOfChannels(_ problem: LinearProblem) -> Int {
    let (k, v) = (problem.keyDimension, problem.valueDimension)
    let tokens = problem.batch * problem.length * problem.valueHeads
    let single = MemoryLayout<Float>.size
    return tokens * single
      + tokens.pieces(of: HopperTile.chunk) * k * (v * problem.dtype.size + single)
  }

  /// As `Flows` in `linear/flows.cuh`.
  struct Addresses: BitwiseCopyable {
    private var rows: UInt64 = 0
    private var pairs: UInt64 = 0
    private var states: UInt64 = 0
    private var products: UInt64 = 0
    private var tokens: Int64

    init(_ flows: HopperFlows?, _ problem: LinearProblem) throws {
      tokens = Int64(problem.batch * problem.length * problem.valueHeads)
      guard let flows else { return }
      rows = try Tensor.deviceAddress(flows.rows)
      pairs = try flows.pairs.deviceAddress()
      states = try Tensor.deviceAddress(flows.states)
      products = try flows.products.deviceAddress()
    }
  }
}

/// What passes of one call find together, for what is read and for keys.
struct HopperFlowPair {
  let reads: HopperFlows
  let keys: HopperFlows
}

extension HopperFlowPair {
  /// The gradient of the decay [b, t, hv, 1], by `linear/flow_sums.cu`.
  ///
  /// - Parameters:
  ///   - flows: to queries, and where tokens erase to those.
  ///   - tile: of the passes.
  static func sum(_ flows: [HopperFlowPair], _ plan: HopperPlan, _ tile: HopperTile) throws
    -> Tensor
  {
    let (linear, problem) = (plan.linear, plan.problem)
    let decay = try linear.fresh([problem.batch, problem.length, problem.valueHeads, 1])
    let warps = HopperFlows.segment / HopperTile.chunk
    try linear.queue.launch(
      "linear/flow_sums", element: problem.dtype,
      definitions: tile.definitions + ["ERASES=\(flows.count - 1)"], isSpecific: true,
      grid: (plan.recurrences, plan.longest.pieces(of: HopperFlows.segment), 1),
      threads: warps * LinearTile.threadsPerWarp,
      sharedBytes: warps * MemoryLayout<Float>.size,
      Parameters(
        operands: plan.operands(slices: 1), queries: Shares(flows[0]),
        erased: Shares(flows[flows.count - 1]),
        decay: DeviceTokenRows(decay),
        tokens: Int64(problem.batch * problem.length * problem.valueHeads),
        slots: Int32(problem.keyDimension / HopperTile.groupColumns * HopperFlows.warps),
        slices: Int32(tile.slices)))
    return decay
  }

  /// As `linear/flow_sums.cu` declares it.
  private struct Shares: BitwiseCopyable {
    var rows: UInt64
    var columns: UInt64
    var pairs: UInt64
    var products: UInt64

    init(_ flows: HopperFlowPair) throws {
      rows = try Tensor.deviceAddress(flows.reads.rows)
      columns = try Tensor.deviceAddress(flows.keys.rows)
      pairs = try flows.reads.pairs.deviceAddress()
      products = try flows.keys.products.deviceAddress()
    }
  }

  /// As `linear/flow_sums.cu` declares it.
  private struct Parameters: BitwiseCopyable {
    var operands: DeviceLinear.Operands
    var queries: Shares
    var erased: Shares
    var decay: DeviceTokenRows
    var tokens: Int64
    var slots: Int32
    var slices: Int32
  }
}
