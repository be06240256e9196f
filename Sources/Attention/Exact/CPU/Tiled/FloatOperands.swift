import AttentionCPUKernels
import AttentionTensors

/// Forward operands in float32; half precision is widened when it is read.
struct FloatOperands: ForwardOperands {
  private let inputs: ExactArguments
  private let kernels: cpu_kernels
  private let queryRows: HeadRows
  private let valueRows: HeadRows
  private let layout: PackedLayout
  /// For each head: panels of Kᵀ, then panels of V.
  private let memory: Scratch
  private let unfit: UnfitPieces

  init(_ inputs: ExactArguments, _ kernels: cpu_kernels) throws {
    let type = inputs.dtype.floatType ?? CPU_F32
    let problem = inputs.problem
    let panel = kernels.tile_columns
    let valueColumns = problem.valueDimension.rounded(up: panel)
    self.inputs = inputs
    self.kernels = kernels
    queryRows = try HeadRows(inputs.queries, type)
    layout = PackedLayout(inputs, panel: panel, perRow: problem.keyDimension + valueColumns)
    memory = try Scratch(floats: layout.count)
    valueRows = try HeadRows(inputs.values, type)
    unfit = try UnfitPieces(inputs)
    try pack(HeadRows(inputs.keys, type))
  }

  private func pack(_ keyRows: HeadRows) throws {
    let (d, v, panel) = (keyRows.dimension, valueRows.dimension, kernels.tile_columns)
    try inputs.forEachKeyPiece { index, head, piece in
      let segment = inputs.segments[index]
      let n = piece.count
      let start = segment.keyStart + piece.lowerBound
      try keyRows.withFloats(
        batch: segment.batch, head: head, start: start, count: n,
        normalizedGroups: inputs.normalizedGroups, kernels
      ) { rows, stride in
        kernels.pack(d, n, rows, 1, stride, keys(index, head, from: piece.lowerBound), d * panel)
      }
      try valueRows.withFloats(
        batch: segment.batch, head: head, start: start, count: n, normalizedGroups: nil, kernels
      ) { rows, stride in
        kernels.pack(
          n, v, rows, stride, 1, values(index, head, from: piece.lowerBound),
          layout.paddedRows[index] * panel)
      }
      let masked = try inputs.maskedKeys(segment, piece)
      for key in masked {
        for column in stride(from: 0, to: v, by: panel) {
          (values(index, head, from: piece.lowerBound + key) + column * layout.paddedRows[index])
            .update(repeating: 0, count: panel)
        }
      }
      unfit.note(valueRows, index, segment, head: head, piece: piece, except: masked, kernels)
    }
  }

  /// The panels of the keys from `start` on, a multiple of the panel width.
  private func keys(_ segment: Int, _ head: Int, from start: Int) -> UnsafeMutablePointer<Float> {
    memory.base + layout.offset(segment, head) + start * inputs.problem.keyDimension
  }

  /// The panels of the values from key `start` on.
  private func values(_ segment: Int, _ head: Int, from start: Int) -> UnsafeMutablePointer<Float> {
    keys(segment, head, from: layout.paddedRows[segment]) + start * kernels.tile_columns
  }

  /// Queries, and their inverse norms while they are read.
  func blockFloats(rows: Int, tileKeys: Int) -> Int { 2 * rows * inputs.problem.keyDimension }

  func readQueries(_ block: ForwardBlock) {
    let segment = inputs.segments[block.segment]
    let (m, d) = (block.rows.count, inputs.problem.keyDimension)
    queryRows.read(
      batch: segment.batch, head: block.head, start: segment.queryStart + block.rows.lowerBound,
      count: m, into: block.memory, kernels)
    if let groups = inputs.normalizedGroups {
      kernels.unit_slices(
        m, d, groups, Similarity.shortestSlice, block.memory, block.memory, block.memory + m * d)
    }
    kernels.scale(m * d, inputs.scale[block.head], block.memory)
  }

  func similarity(_ block: ForwardBlock, _ columns: Range<Int>, isFinal: Bool) -> Float {
    let d = inputs.problem.keyDimension
    kernels.product(
      block.rows.count, columns.count, d, block.memory, d, 1,
      keys(block.segment, block.keyHead, from: columns.lowerBound), d * kernels.tile_columns,
      block.scores, block.tileKeys, kernels.tile_columns, 0)
    return logTwoOfE
  }

  func attend(_ block: ForwardBlock, _ columns: Range<Int>, factor: Float, hides: Bool) throws {
    let (m, n, v) = (block.rows.count, columns.count, inputs.problem.valueDimension)
    if let shift = block.shift {
      kernels.softmax_shifted(m, n, block.scores, block.tileKeys, factor, shift, block.sum)
    } else {
      kernels.softmax_online(
        m, n, block.scores, block.tileKeys, factor, block.high, block.sum, block.output, v, v)
    }
    if hides, unfit.contain(block.segment, block.keyHead, columns) {
      return try block.addSelected(valueRows, inputs, columns, kernels)
    }
    kernels.product(
      m, v, n, block.scores, block.tileKeys, 1,
      values(block.segment, block.keyHead, from: columns.lowerBound),
      layout.paddedRows[block.segment] * kernels.tile_columns, block.output, v,
      kernels.tile_columns, 1)
  }
}
