import AttentionCPUKernels
import AttentionTensors

/// Backward operands in bfloat16 for processors with dot products of pairs; sums and softmax are in float32,
/// and weights and their gradient are rounded to bfloat16 to be operands of products.
///
/// With cosine similarity in one group, the inverse norms multiply float32 numbers: the scores, and the
/// gradient of the scores before it is rounded.
struct BFloat16Gradients: BackwardOperands {
  private let inputs: ExactArguments
  private let kernels: cpu_kernels
  private let tile: TileShape
  private let queryRows: BFloat16Rows
  private let gradientRows: BFloat16Rows
  private let keyRows: BFloat16Rows
  private let valueRows: BFloat16Rows
  private let layout: Layout

  /// Offsets of the operands in floats; two bfloat16 elements take one.
  private struct Layout {
    /// Dimensions padded to whole pairs.
    let depth, valueDepth: Int
    /// Of queries: Qᵀ, dOᵀ, dO and Q packed, in the order in which a tile reads them, and a factor
    /// for each query.
    let transposedQueries, transposedGradients, gradients, queries, factors, queryFloats: Int
    /// Of keys: K and V as rows, Kᵀ, a factor for each key; of a tile: weights, the two roundings of
    /// dS, and dS packed.
    let keys, values, transposedKeys, keyFactors, weights, forKeys, forQueries, packed: Int
    /// Ones, in place of absent factors.
    let ones, keyFloats: Int

    init(d: Int, v: Int, tile: TileShape, panel: Int) {
      let padded = { (width: Int) in width.rounded(up: panel) }
      depth = (d + 1) / 2 * 2
      valueDepth = (v + 1) / 2 * 2
      var parts = MemoryParts()
      transposedQueries = parts.next(depth / 2 * padded(tile.queries))
      transposedGradients = parts.next(valueDepth / 2 * padded(tile.queries))
      gradients = parts.next(tile.queries / 2 * padded(v))
      queries = parts.next(tile.queries / 2 * padded(d))
      factors = parts.next(tile.queries)
      queryFloats = parts.count
      parts = MemoryParts()
      keys = parts.next(tile.keys * depth / 2)
      values = parts.next(tile.keys * valueDepth / 2)
      transposedKeys = parts.next(d * tile.keys / 2)
      keyFactors = parts.next(tile.keys)
      weights = parts.next(tile.keys * tile.queries / 2)
      forKeys = parts.next(tile.keys * tile.queries / 2)
      forQueries = parts.next(tile.keys * tile.queries / 2)
      packed = parts.next(tile.keys / 2 * padded(tile.queries))
      ones = parts.next(tile.keys)
      keyFloats = parts.count
    }
  }

  init(_ inputs: ExactArguments, outputGradient: Tensor, tile: TileShape, _ kernels: cpu_kernels)
    throws
  {
    self.inputs = inputs
    self.kernels = kernels
    self.tile = tile
    queryRows = try BFloat16Rows(inputs.queries, inputs.normalizedGroups)
    gradientRows = try BFloat16Rows(outputGradient, nil)
    keyRows = try BFloat16Rows(inputs.keys, inputs.normalizedGroups)
    valueRows = try BFloat16Rows(inputs.values, nil)
    layout = Layout(
      d: queryRows.dimension, v: valueRows.dimension, tile: tile, panel: kernels.tile_columns)
  }

  var queryFloats: Int { layout.queryFloats }
  var keyFloats: Int { layout.keyFloats }

  private var scalesLengths: Bool { inputs.normalizedGroups == 1 }

  private func half(_ memory: UnsafeMutablePointer<Float>, _ place: Int)
    -> UnsafeMutablePointer<UInt16>
  {
    UnsafeMutableRawPointer(memory + place).assumingMemoryBound(to: UInt16.self)
  }

  func readQueries(_ block: BackwardBlock) throws {
    let segment = inputs.segments[block.segment]
    let (m, d, v) = (block.rows.count, queryRows.dimension, gradientRows.dimension)
    let panel = kernels.tile_columns
    let start = segment.queryStart + block.rows.lowerBound
    let factors = block.memory + layout.factors
    let scratch = try Scratch(floats: m * max(layout.depth, layout.valueDepth) / 2)
    let rows = half(scratch.base, 0)
    queryRows.read(
      batch: segment.batch, head: block.head, start: start, count: m, into: rows, stride: d,
      lengths: factors, kernels)
    let scale = inputs.scale[block.head]
    for r in 0..<m { factors[r] = scalesLengths ? factors[r] * scale : scale }
    kernels.bf16.pack_pairs_of_columns!(
      d, m, rows, d, half(block.memory, layout.transposedQueries), layout.depth * panel)
    kernels.bf16.pack_pairs_of_rows!(
      m, d, rows, d, half(block.memory, layout.queries), tile.queries * panel)
    gradientRows.read(
      batch: segment.batch, head: block.head, start: start, count: m, into: rows, stride: v,
      lengths: factors, kernels)
    kernels.bf16.pack_pairs_of_columns!(
      v, m, rows, v, half(block.memory, layout.transposedGradients), layout.valueDepth * panel)
    kernels.bf16.pack_pairs_of_rows!(
      m, v, rows, v, half(block.memory, layout.gradients), tile.queries * panel)
  }

  func readKeys(_ keys: BackwardKeys) throws {
    let segment = inputs.segments[keys.segment]
    let (n, d, v) = (keys.columns.count, keyRows.dimension, valueRows.dimension)
    let start = segment.keyStart + keys.columns.lowerBound
    let rows = half(keys.memory, layout.keys)
    let factors = keys.memory + layout.keyFactors
    keyRows.read(
      batch: segment.batch, head: keys.head, start: start, count: n, into: rows,
      stride: layout.depth, lengths: factors, kernels)
    if !scalesLengths { factors.update(repeating: 1, count: n) }
    (keys.memory + layout.ones).update(repeating: 1, count: tile.keys)
    let values = half(keys.memory, layout.values)
    valueRows.read(
      batch: segment.batch, head: keys.head, start: start, count: n, into: values,
      stride: layout.valueDepth, lengths: keys.memory + layout.ones, kernels)
    for key in try inputs.maskedKeys(segment, keys.columns) {
      (rows + key * layout.depth).update(repeating: 0, count: d)
      (values + key * layout.valueDepth).update(repeating: 0, count: v)
      factors[key] = 0
    }
    let transposed = half(keys.memory, layout.transposedKeys)
    for i in 0..<d {
      for c in 0..<n { transposed[i * tile.keys + c] = rows[c * layout.depth + i] }
      if n % 2 == 1 { transposed[i * tile.keys + n] = 0 }
    }
    for c in 0..<n {
      if layout.depth > d { rows[c * layout.depth + d] = 0 }
      if layout.valueDepth > v { values[c * layout.valueDepth + v] = 0 }
    }
  }

  func similarity(_ block: BackwardBlock, _ keys: BackwardKeys, isFinal: Bool) -> Float {
    let (n, m, panel) = (keys.columns.count, block.rows.count, kernels.tile_columns)
    kernels.bf16.product!(
      n, m, layout.depth, half(keys.memory, layout.keys), layout.depth,
      half(block.memory, layout.transposedQueries), layout.depth * panel, keys.scores,
      tile.queries, panel, 0)
    let scale = inputs.scale[block.head]
    if isFinal, !scalesLengths, scale > 0 { return scale * logTwoOfE }
    kernels.scale_tile(
      n, m, keys.scores, tile.queries, keys.memory + layout.keyFactors,
      block.memory + layout.factors)
    return logTwoOfE
  }

  func weights(_ block: BackwardBlock, _ keys: BackwardKeys, factor: Float) {
    let (n, m, panel) = (keys.columns.count, block.rows.count, kernels.tile_columns)
    kernels.bf16.product!(
      n, m, layout.valueDepth, half(keys.memory, layout.values), layout.valueDepth,
      half(block.memory, layout.transposedGradients), layout.valueDepth * panel, keys.gradient,
      tile.queries, panel, 0)
    kernels.bf16.softmax_gradient!(
      n, m, keys.scores, keys.gradient, tile.queries, factor, block.logSumExp, block.delta,
      half(keys.memory, layout.weights))
  }

  func accumulate(
    _ block: BackwardBlock, _ keys: BackwardKeys, queryGradient: UnsafeMutablePointer<Float>
  ) {
    let (n, m, panel) = (keys.columns.count, block.rows.count, kernels.tile_columns)
    let (d, v) = (keyRows.dimension, valueRows.dimension)
    let ones = keys.memory + layout.ones
    let forKeys = half(keys.memory, layout.forKeys)
    let forQueries = half(keys.memory, layout.forQueries)
    kernels.bf16.narrow_scaled!(
      n, m, keys.gradient, tile.queries, ones, block.memory + layout.factors, forKeys)
    kernels.bf16.narrow_scaled!(
      n, m, keys.gradient, tile.queries, keys.memory + layout.keyFactors, ones, forQueries)
    kernels.bf16.product!(
      n, v, m, half(keys.memory, layout.weights), tile.queries,
      half(block.memory, layout.gradients), tile.queries * panel, keys.dv, v, panel, 1)
    kernels.bf16.product!(
      n, d, m, forKeys, tile.queries, half(block.memory, layout.queries), tile.queries * panel,
      keys.dk, d, panel, 1)
    // dQᵀ += Kᵀ dSᵀ: pairs of keys are adjacent in both.
    let packed = half(keys.memory, layout.packed)
    kernels.bf16.pack_pairs_of_rows!(
      n, m, forQueries, tile.queries, packed, tile.keys * panel)
    kernels.bf16.product!(
      d, m, n, half(keys.memory, layout.transposedKeys), tile.keys, packed, tile.keys * panel,
      queryGradient, tile.queries, panel, 1)
  }

  func widenWeights(_ block: BackwardBlock, _ keys: BackwardKeys) {
    let weights = half(keys.memory, layout.weights)
    for c in 0..<keys.columns.count {
      let row = c * tile.queries
      kernels.widen(CPU_BF16, block.rows.count, weights + row, keys.scores + row)
    }
  }

  func add(_ rows: UnsafePointer<Float>, count: Int, to sum: UnsafeMutablePointer<Float>) {
    let d = queryRows.dimension
    for r in 0..<count {
      for i in 0..<d { sum[i * tile.queries + r] += rows[r * d + i] }
    }
  }

  func rows(
    _ sum: UnsafePointer<Float>, count: Int, into rows: UnsafeMutablePointer<Float>
  ) {
    let d = queryRows.dimension
    kernels.transpose(d, count, sum, tile.queries, rows, d)
  }
}
