import AttentionCPUKernels
import AttentionTensors

/// Forward operands in bfloat16 for processors with dot products of pairs, at twice the rate of float32;
/// sums and softmax are in float32, and weights are rounded to bfloat16 for the product with the values.
///
/// Inputs are multiplied unchanged. With cosine similarity in one group, the inverse norms and the scale
/// multiply the float32 product; with several, the normalised slices are rounded to bfloat16, as in the
/// plain computation.
struct BFloat16Operands: ForwardOperands {
  private typealias Pair = UInt16

  private let inputs: ExactArguments
  private let kernels: cpu_kernels
  private let queryRows: BFloat16Rows
  /// Reads the values in float32, for tiles with masked values that are not finite.
  private let wideValues: HeadRows
  private let layout: PackedLayout
  /// For each head: panels of Kᵀ, then panels of V.
  private let memory: Scratch
  /// Inverse norms of the keys, one per padded row, if they multiply the product.
  private let keyLengths: Scratch?
  /// The key dimension padded to whole pairs.
  private let depth: Int
  private let unfit: UnfitPieces

  init(_ inputs: ExactArguments, _ kernels: cpu_kernels) throws {
    let problem = inputs.problem
    let panel = kernels.tile_columns
    let valueColumns = problem.valueDimension.rounded(up: panel)
    self.inputs = inputs
    self.kernels = kernels
    depth = (problem.keyDimension + 1) / 2 * 2
    queryRows = try BFloat16Rows(inputs.queries, inputs.normalizedGroups)
    layout = PackedLayout(inputs, panel: panel, perRow: depth + valueColumns)
    memory = try Scratch(floats: (layout.count + 1) / 2)
    keyLengths = inputs.normalizedGroups == 1 ? try Scratch(floats: layout.rowCount) : nil
    wideValues = try HeadRows(inputs.values, CPU_BF16)
    unfit = try UnfitPieces(inputs)
    try pack(
      BFloat16Rows(inputs.keys, inputs.normalizedGroups), BFloat16Rows(inputs.values, nil))
  }

  private var base: UnsafeMutablePointer<UInt16> {
    UnsafeMutableRawPointer(memory.base).assumingMemoryBound(to: UInt16.self)
  }

  private func pack(_ keyRows: BFloat16Rows, _ valueRows: BFloat16Rows) throws {
    let (d, v, panel) = (keyRows.dimension, valueRows.dimension, kernels.tile_columns)
    try inputs.forEachKeyPiece { index, head, piece in
      let segment = inputs.segments[index]
      let start = segment.keyStart + piece.lowerBound
      try keyRows.withRows(
        batch: segment.batch, head: head, start: start, count: piece.count, kernels
      ) {
        rows, stride, lengths in
        kernels.bf16.pack_pairs_of_columns!(
          d, piece.count, rows, stride, keys(index, head, from: piece.lowerBound), depth * panel)
        if let keyLengths {
          (keyLengths.base + layout.rowOffset(index, head) + piece.lowerBound)
            .update(from: lengths, count: piece.count)
        }
      }
      try valueRows.withRows(
        batch: segment.batch, head: head, start: start, count: piece.count, kernels
      ) {
        rows, stride, _ in
        kernels.bf16.pack_pairs_of_rows!(
          piece.count, v, rows, stride, values(index, head, from: piece.lowerBound),
          layout.paddedRows[index] * panel)
      }
      let masked = try inputs.maskedKeys(segment, piece)
      for key in masked {
        // Pairs of rows are interleaved.
        let pair = values(index, head, from: piece.lowerBound + key / 2 * 2) + key % 2
        for column in stride(from: 0, to: v, by: panel) {
          for j in 0..<panel { pair[column * layout.paddedRows[index] + 2 * j] = 0 }
        }
      }
      unfit.note(wideValues, index, segment, head: head, piece: piece, except: masked, kernels)
    }
  }

  private func keys(_ segment: Int, _ head: Int, from start: Int) -> UnsafeMutablePointer<UInt16> {
    base + layout.offset(segment, head) + start * depth
  }

  private func values(_ segment: Int, _ head: Int, from start: Int) -> UnsafeMutablePointer<UInt16>
  {
    keys(segment, head, from: layout.paddedRows[segment]) + start * kernels.tile_columns
  }

  /// Queries, weights, and a factor per query.
  func blockFloats(rows: Int, tileKeys: Int) -> Int { rows * (depth / 2 + tileKeys / 2 + 1) }

  private func parts(_ block: ForwardBlock) -> (
    queries: UnsafeMutablePointer<UInt16>, weights: UnsafeMutablePointer<UInt16>,
    factors: UnsafeMutablePointer<Float>
  ) {
    let queries = UnsafeMutableRawPointer(block.memory).assumingMemoryBound(to: UInt16.self)
    let m = block.rows.count
    return (queries, queries + m * depth, block.memory + m * (depth + block.tileKeys) / 2)
  }

  func readQueries(_ block: ForwardBlock) {
    let segment = inputs.segments[block.segment]
    let (m, d) = (block.rows.count, inputs.problem.keyDimension)
    let (queries, _, factors) = parts(block)
    let scale = inputs.scale[block.head]
    queryRows.read(
      batch: segment.batch, head: block.head, start: segment.queryStart + block.rows.lowerBound,
      count: m, into: queries, stride: depth, lengths: factors, kernels)
    for r in 0..<m {
      if depth > d { queries[r * depth + d] = 0 }
      factors[r] = inputs.normalizedGroups == 1 ? factors[r] * scale : scale
    }
  }

  func similarity(_ block: ForwardBlock, _ columns: Range<Int>, isFinal: Bool) -> Float {
    let (m, n, panel) = (block.rows.count, columns.count, kernels.tile_columns)
    let (queries, _, factors) = parts(block)
    kernels.bf16.product!(
      m, n, depth, queries, depth, keys(block.segment, block.keyHead, from: columns.lowerBound),
      depth * panel, block.scores, block.tileKeys, panel, 0)
    let scale = inputs.scale[block.head]
    if let keyLengths {
      kernels.scale_tile(
        m, n, block.scores, block.tileKeys, factors,
        keyLengths.base + layout.rowOffset(block.segment, block.keyHead) + columns.lowerBound)
      return logTwoOfE
    }
    // The softmax applies a positive factor; other scales, and terms before the softmax, need scaling here.
    if isFinal, scale > 0 { return scale * logTwoOfE }
    for r in 0..<m { kernels.scale(n, scale, block.scores + r * block.tileKeys) }
    return logTwoOfE
  }

  func attend(_ block: ForwardBlock, _ columns: Range<Int>, factor: Float, hides: Bool) throws {
    let (m, n, v) = (block.rows.count, columns.count, inputs.problem.valueDimension)
    let weights = parts(block).weights
    if let shift = block.shift {
      kernels.bf16.softmax_shifted!(
        m, n, block.scores, block.tileKeys, factor, shift, weights, block.sum)
    } else {
      kernels.bf16.softmax_online!(
        m, n, block.scores, block.tileKeys, factor, weights, block.high, block.sum, block.output,
        v, v)
    }
    if hides, unfit.contain(block.segment, block.keyHead, columns) {
      for r in 0..<m {
        let place = r * block.tileKeys
        kernels.widen(CPU_BF16, n, weights + place, block.scores + place)
      }
      return try block.addSelected(wideValues, inputs, columns, kernels)
    }
    kernels.bf16.product!(
      m, v, n, weights, block.tileKeys,
      values(block.segment, block.keyHead, from: columns.lowerBound),
      layout.paddedRows[block.segment] * kernels.tile_columns, block.output, v,
      kernels.tile_columns, 1)
  }
}
