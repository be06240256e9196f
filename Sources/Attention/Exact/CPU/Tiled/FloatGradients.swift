import AttentionCPUKernels
import AttentionTensors

/// Backward operands in float32; half precision is widened when it is read.
struct FloatGradients: BackwardOperands {
  private let inputs: ExactArguments
  private let kernels: cpu_kernels
  private let tile: TileShape
  private let queryRows: HeadRows
  private let gradientRows: HeadRows
  private let keyRows: HeadRows
  private let valueRows: HeadRows
  private let layout: Layout

  /// Offsets of the operands in floats.
  private struct Layout {
    /// Of queries: scale·Qᵀ, dOᵀ, dO and scale·Q packed, in the order in which a tile reads them.
    let transposedQueries, transposedGradients, gradients, queries, queryFloats: Int
    /// Of keys: K and V as rows, K packed, inverse norms.
    let keys, values, packedKeys, lengths, keyFloats: Int

    init(d: Int, v: Int, tile: TileShape, panel: Int) {
      let padded = { (width: Int) in width.rounded(up: panel) }
      var parts = MemoryParts()
      transposedQueries = parts.next(d * padded(tile.queries))
      transposedGradients = parts.next(v * padded(tile.queries))
      gradients = parts.next(tile.queries * padded(v))
      queries = parts.next(tile.queries * padded(d))
      queryFloats = parts.count
      parts = MemoryParts()
      keys = parts.next(tile.keys * d)
      values = parts.next(tile.keys * v)
      packedKeys = parts.next(tile.keys * padded(d))
      lengths = parts.next(tile.keys * d)
      keyFloats = parts.count
    }
  }

  init(_ inputs: ExactArguments, outputGradient: Tensor, tile: TileShape, _ kernels: cpu_kernels)
    throws
  {
    let type = inputs.dtype.floatType ?? CPU_F32
    self.inputs = inputs
    self.kernels = kernels
    self.tile = tile
    queryRows = try HeadRows(inputs.queries, type)
    gradientRows = try HeadRows(outputGradient, type)
    keyRows = try HeadRows(inputs.keys, type)
    valueRows = try HeadRows(inputs.values, type)
    layout = Layout(
      d: queryRows.dimension, v: valueRows.dimension, tile: tile, panel: kernels.tile_columns)
  }

  var queryFloats: Int { layout.queryFloats }
  var keyFloats: Int { layout.keyFloats }

  func readQueries(_ block: BackwardBlock) throws {
    let segment = inputs.segments[block.segment]
    let (m, d, v) = (block.rows.count, queryRows.dimension, gradientRows.dimension)
    let panel = kernels.tile_columns
    let start = segment.queryStart + block.rows.lowerBound
    let scratch = try Scratch(floats: m * max(2 * d, v))
    let rows = scratch.base
    queryRows.read(
      batch: segment.batch, head: block.head, start: start, count: m, into: rows, kernels)
    if let groups = inputs.normalizedGroups {
      kernels.unit_slices(m, d, groups, Similarity.shortestSlice, rows, rows, rows + m * d)
    }
    kernels.scale(m * d, inputs.scale[block.head], rows)
    kernels.pack(d, m, rows, 1, d, block.memory + layout.transposedQueries, d * panel)
    kernels.pack(m, d, rows, d, 1, block.memory + layout.queries, tile.queries * panel)
    gradientRows.read(
      batch: segment.batch, head: block.head, start: start, count: m, into: rows, kernels)
    kernels.pack(v, m, rows, 1, v, block.memory + layout.transposedGradients, v * panel)
    kernels.pack(m, v, rows, v, 1, block.memory + layout.gradients, tile.queries * panel)
  }

  func readKeys(_ keys: BackwardKeys) throws {
    let segment = inputs.segments[keys.segment]
    let (n, d) = (keys.columns.count, keyRows.dimension)
    let start = segment.keyStart + keys.columns.lowerBound
    let rows = keys.memory + layout.keys
    keyRows.read(
      batch: segment.batch, head: keys.head, start: start, count: n, into: rows, kernels)
    if let groups = inputs.normalizedGroups {
      kernels.unit_slices(
        n, d, groups, Similarity.shortestSlice, rows, rows, keys.memory + layout.lengths)
    }
    let masked = try inputs.maskedKeys(segment, keys.columns)
    for key in masked { (rows + key * d).update(repeating: 0, count: d) }
    kernels.pack(
      n, d, rows, d, 1, keys.memory + layout.packedKeys, tile.keys * kernels.tile_columns)
    valueRows.read(
      batch: segment.batch, head: keys.head, start: start, count: n,
      into: keys.memory + layout.values, kernels)
    let v = valueRows.dimension
    for key in masked {
      (keys.memory + layout.values + key * v).update(repeating: 0, count: v)
    }
  }

  func similarity(_ block: BackwardBlock, _ keys: BackwardKeys, isFinal: Bool) -> Float {
    let (d, panel) = (keyRows.dimension, kernels.tile_columns)
    kernels.product(
      keys.columns.count, block.rows.count, d, keys.memory + layout.keys, d, 1,
      block.memory + layout.transposedQueries, d * panel, keys.scores, tile.queries, panel, 0)
    return logTwoOfE
  }

  func weights(_ block: BackwardBlock, _ keys: BackwardKeys, factor: Float) {
    let (n, m) = (keys.columns.count, block.rows.count)
    let (v, panel) = (valueRows.dimension, kernels.tile_columns)
    kernels.product(
      n, m, v, keys.memory + layout.values, v, 1, block.memory + layout.transposedGradients,
      v * panel, keys.gradient, tile.queries, panel, 0)
    kernels.softmax_gradient(
      n, m, keys.scores, keys.gradient, tile.queries, factor, block.logSumExp, block.delta)
  }

  func accumulate(
    _ block: BackwardBlock, _ keys: BackwardKeys, queryGradient: UnsafeMutablePointer<Float>
  ) {
    let (n, m) = (keys.columns.count, block.rows.count)
    let (d, v, panel) = (keyRows.dimension, valueRows.dimension, kernels.tile_columns)
    kernels.product(
      n, v, m, keys.scores, tile.queries, 1, block.memory + layout.gradients,
      tile.queries * panel, keys.dv, v, panel, 1)
    kernels.product(
      n, d, m, keys.gradient, tile.queries, 1, block.memory + layout.queries,
      tile.queries * panel, keys.dk, d, panel, 1)
    kernels.product(
      m, d, n, keys.gradient, 1, tile.queries, keys.memory + layout.packedKeys,
      tile.keys * panel, queryGradient, d, panel, 1)
  }

  func widenWeights(_ block: BackwardBlock, _ keys: BackwardKeys) {}

  func add(_ rows: UnsafePointer<Float>, count: Int, to sum: UnsafeMutablePointer<Float>) {
    kernels.axpy(count * queryRows.dimension, 1, rows, sum)
  }

  func rows(
    _ sum: UnsafePointer<Float>, count: Int, into rows: UnsafeMutablePointer<Float>
  ) {
    rows.update(from: sum, count: count * queryRows.dimension)
  }
}
