import CUDA
import Tensors

/// What a pass finds, beside its outputs, for the gradient of the decay: what passes through tokens, as
/// `linear/flows.cuh` has it.
struct HopperFlows {
  /// Tokens of a segment, after which what passes is found anew.
  static let segment = 8 * HopperTile.chunk
  /// Warps of the group that has 64 columns of the outputs.
  private static let warps = 4

  /// What is multiplied with the outputs row by row.
  var partners: DeviceRows
  /// [slots, b, hv, t]
  let rows: Tensor
  /// [slices, b, hv, t], of the pass for dq.
  let pairs: Tensor
  /// [segments, hv, v, k] in bfloat16, in an order of the kernel's own.
  let states: Tensor
  /// [segments, hv, slots], of the pass for dk.
  let products: Tensor

  /// Memory for the pass for dq of a call, and for the one for dk.
  static func both(_ linear: DeviceLinear, segments: Int, slices: Int) throws -> [HopperFlows] {
    let problem = linear.call.problem
    let slots = problem.keyDimension / HopperTile.groupColumns * warps
    let (b, hv, t) = (problem.batch, problem.valueHeads, problem.length)
    let pairs = try linear.fresh([slices, b, hv, t])
    let states = try linear.fresh(
      [segments, hv, problem.valueDimension, problem.keyDimension], .bfloat16)
    let products = try linear.fresh([segments, hv, slots])
    return try [linear.call.queries, linear.call.keys].map {
      HopperFlows(
        partners: try DeviceRows($0, paddedTo: $0.shape[3]),
        rows: try linear.fresh([slots, b, hv, t]), pairs: pairs, states: states,
        products: products)
    }
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
      rows = try flows.rows.deviceAddress()
      pairs = try flows.pairs.deviceAddress()
      states = try flows.states.deviceAddress()
      products = try flows.products.deviceAddress()
    }
  }

  /// The gradient of the decay [b, t, hv, 1], by `linear/flow_sums.cu`.
  ///
  /// - Parameters:
  ///   - flows: of the passes for dq and dk, which had this tile.
  ///   - sequences: the pieces of the sequences, where they were cut.
  ///   - recurrences: sequences, or pieces of them, times value heads.
  static func sum(
    _ flows: [HopperFlows], _ linear: DeviceLinear, _ tile: HopperTile,
    _ sequences: DeviceSequences?, recurrences: Int
  ) throws -> Tensor {
    let problem = linear.call.problem
    var operands = try linear.operands(slices: 1)
    if let sequences { operands.sequences = sequences.address }
    let decay = try linear.fresh([problem.batch, problem.length, problem.valueHeads, 1])
    try linear.queue.launch(
      "linear/flow_sums", element: problem.dtype, definitions: tile.definitions, isSpecific: true,
      grid: (recurrences, 1, 1), threads: summingThreads, sharedBytes: 0,
      Parameters(
        operands: operands, rows: flows[0].rows.deviceAddress(),
        columns: flows[1].rows.deviceAddress(), pairs: flows[0].pairs.deviceAddress(),
        products: flows[1].products.deviceAddress(), decay: DeviceTokenRows(decay),
        tokens: Int64(problem.batch * problem.length * problem.valueHeads),
        slots: Int32(flows[0].rows.shape[0]), slices: Int32(tile.slices)))
    return decay
  }

  private static let summingThreads = 128

  /// As `linear/flow_sums.cu` declares it.
  private struct Parameters: BitwiseCopyable {
    var operands: DeviceLinear.Operands
    var rows: UInt64
    var columns: UInt64
    var pairs: UInt64
    var products: UInt64
    var decay: DeviceTokenRows
    var tokens: Int64
    var slots: Int32
    var slices: Int32
  }
}
