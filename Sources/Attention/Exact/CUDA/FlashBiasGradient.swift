import AttentionCUDA
import AttentionTensors

/// The gradient of a bias by `attention/bias_gradient.cu`: dS, summed over the axes along which the bias
/// broadcasts.
struct FlashBiasGradient {
  /// Parts of the queries that are summed apart, where the bias broadcasts along them, so that there are
  /// more blocks than tiles of keys.
  private static let mostSlots = 32

  private let inputs: ExactInputs
  private let operands: FlashOperands
  private let features: FlashFeatures
  private let columns: TileColumns
  private let rows: TileRows

  init(_ inputs: ExactInputs, _ features: FlashFeatures, _ operands: FlashOperands) {
    self.inputs = inputs
    self.operands = operands
    self.features = features
    let problem = inputs.problem
    let columns = TileColumns(
      keyDimension: problem.keyDimension, valueDimension: problem.valueDimension,
      features.element)
    self.columns = columns
    let candidates = [64, 32, 16].map { TileRows($0, $0, warps: $0 / 16, blocks: 1) }
    rows = TileLimits(operands.queue.device.limits).first(of: candidates) {
      Self.sharedBytes($0, columns)
    }
  }

  /// The four tiles; later the sums of their pairs.
  private static func sharedBytes(_ rows: TileRows, _ columns: TileColumns) -> Int {
    max(
      (rows.queries + rows.keys) * (columns.keyBytes + columns.valueBytes),
      rows.queries * rows.keys * DType.float32.size)
  }

  func run(_ backward: FlashBackwardParameters, isWide: Bool) throws -> Tensor? {
    guard let own = inputs.biasShape else { return nil }
    let problem = inputs.problem
    let full = [problem.batch, problem.heads, problem.queryLength, problem.keyLength]
    let extents = [Int](repeating: 1, count: full.count - own.rank) + own.dimensions
    // Along which axes there is something to sum.
    let sums = zip(extents, full).map { $0 != $1 }
    let isPacked = problem.packedSequences != nil
    // Sequences of a packed batch have their own rows and columns of the bias, unless it has none.
    let sumsSequences = isPacked ? sums[2] && sums[3] : sums[0]
    let sequences = inputs.segments.count
    let queryTiles = tiles(inputs.segments.map(\.queryCount).max(), rows.queries)
    let keyTiles = tiles(inputs.segments.map(\.keyCount).max(), rows.keys)
    let perSlot = sums[2] ? tiles(queryTiles, Self.mostSlots) : 1
    let slots = sums[2] ? tiles(queryTiles, perSlot) : 1
    let shape = Shape([slots] + extents)
    // Pairs of different sequences are written by nobody.
    let result =
      try isPacked
      ? Tensor.zeros(shape).moved(to: inputs.device).contiguous()
      : .onDevice(shape, dtype: .float32, device: inputs.device)
    let strides = zip(shape.contiguousStrides.dropFirst(), sums).map { Int64($1 ? 0 : $0) }
    var definitions = features
    definitions.hasTerms = true
    try operands.queue.launch(
      "attention/bias_gradient",
      definitions: definitions.definitions + columns.definitions
        + ["QUERY_ROWS=\(rows.queries)", "KEY_ROWS=\(rows.keys)", "WIDE=\(isWide ? 1 : 0)"],
      grid: (
        sums[3] ? 1 : keyTiles, sums[2] ? slots : queryTiles,
        (sumsSequences ? 1 : sequences) * (sums[1] ? 1 : problem.heads)
      ),
      threads: rows.threads, sharedBytes: Self.sharedBytes(rows, columns),
      Parameters(
        backward: backward, gradient: try result.deviceAddress(),
        slot: Int64(shape.contiguousStrides[0]), batch: strides[0], head: strides[1],
        query: strides[2], key: strides[3], sequences: Int32(sumsSequences ? sequences : 1),
        heads: Int32(sums[1] ? problem.heads : 1), queryTiles: Int32(perSlot),
        keyTiles: Int32(sums[3] ? keyTiles : 1), sumsQueries: sums[2] ? 1 : 0,
        sumsKeys: sums[3] ? 1 : 0))
    return try result.sum([0]).reshaped(own)
  }

  private func tiles(_ length: Int?, _ rows: Int) -> Int { (length ?? 0).rounded(up: rows) / rows }

  /// The kernel's parameters, field by field as it declares them.
  private struct Parameters: BitwiseCopyable {
    var backward: FlashBackwardParameters
    var gradient: UInt64
    var slot: Int64
    var batch: Int64
    var head: Int64
    var query: Int64
    var key: Int64
    var sequences: Int32
    var heads: Int32
    var queryTiles: Int32
    var keyTiles: Int32
    var sumsQueries: Int32
    var sumsKeys: Int32
  }
}
