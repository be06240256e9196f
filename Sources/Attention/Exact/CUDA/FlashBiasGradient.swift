import AttentionCUDA
import AttentionCUDAKernels
import AttentionTensors

/// The gradient of a bias by `attention/bias_gradient.cu`: dS, summed over the axes along which the bias
/// broadcasts.
struct FlashBiasGradient {
  /// Parts of the queries that are summed apart, where the bias broadcasts along them, so that there are
  /// more blocks than tiles of keys.
  private static let mostSlots = 32

  private let inputs: ExactArguments
  private let operands: FlashOperands
  private let tile: FlashBiasTile

  init(_ inputs: ExactArguments, _ features: FlashFeatures, _ operands: FlashOperands) {
    self.inputs = inputs
    self.operands = operands
    let problem = inputs.problem
    tile = FlashBiasTile(
      TileColumns(
        keyDimension: problem.keyDimension, valueDimension: problem.valueDimension,
        features.element),
      features, TileLimits(operands.queue.device.limits))
  }

  func run(_ backward: AttentionBackwardParameters, isWide: Bool) throws -> Tensor? {
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
    let queryTiles = tiles(inputs.segments.map(\.queryCount).max(), tile.rows.queries)
    let keyTiles = tiles(inputs.segments.map(\.keyCount).max(), tile.rows.keys)
    let perSlot = sums[2] ? tiles(queryTiles, Self.mostSlots) : 1
    let slots = sums[2] ? tiles(queryTiles, perSlot) : 1
    let shape = Shape([slots] + extents)
    // Pairs of different sequences are written by nobody.
    let result =
      try isPacked
      ? Tensor.zeros(shape).moved(to: inputs.device).contiguous()
      : .onDevice(shape, dtype: .float32, device: inputs.device)
    let strides = zip(shape.contiguousStrides.dropFirst(), sums).map { Int64($1 ? 0 : $0) }
    try operands.queue.launch(
      "attention/bias_gradient", definitions: tile.definitions(isWide: isWide),
      grid: (
        sums[3] ? 1 : keyTiles, sums[2] ? slots : queryTiles,
        (sumsSequences ? 1 : sequences) * (sums[1] ? 1 : problem.heads)
      ),
      threads: tile.rows.threads, sharedBytes: tile.sharedBytes,
      AttentionBiasGradientParameters(
        backward: backward, gradient: try result.deviceAddress(),
        slot: Int64(shape.contiguousStrides[0]), batch: strides[0], head: strides[1],
        query: strides[2], key: strides[3], sequences: Int32(sumsSequences ? sequences : 1),
        heads: Int32(sums[1] ? problem.heads : 1), query_tiles: Int32(perSlot),
        key_tiles: Int32(sums[3] ? keyTiles : 1), sums_queries: sums[2] ? 1 : 0,
        sums_keys: sums[3] ? 1 : 0))
    return try result.sum([0]).reshaped(own)
  }

  private func tiles(_ length: Int?, _ rows: Int) -> Int { (length ?? 0).pieces(of: rows) }
}

/// The tile of `attention/bias_gradient.cu`.
struct FlashBiasTile {
  let rows: TileRows
  private let columns: TileColumns
  private let features: FlashFeatures

  init(_ columns: TileColumns, _ features: FlashFeatures, _ limits: TileLimits) {
    self.columns = columns
    self.features = features
    let candidates = [64, 32, 16].map { TileRows($0, $0, warps: $0 / 16, blocks: 1) }
    rows = limits.first(of: candidates) { Self.sharedBytes($0, columns) }
  }

  var sharedBytes: Int { Self.sharedBytes(rows, columns) }

  private static func sharedBytes(_ rows: TileRows, _ columns: TileColumns) -> Int {
    attention_bias_gradient_bytes(
      rows.queries, rows.keys, columns.keys, columns.values, columns.numberBytes)
  }

  /// - Parameter isWide: whether the other gradients are written as float32.
  func definitions(isWide: Bool) -> [String] {
    var features = features
    features.terms = .ofScores
    return features.definitions + columns.definitions
      + ["QUERY_ROWS=\(rows.queries)", "KEY_ROWS=\(rows.keys)", "WIDE=\(isWide ? 1 : 0)"]
  }
}
