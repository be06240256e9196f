import CPUKernels
import Tensors

/// One task of the backward pass: some key blocks of one key/value head of one sequence, with all
/// queries that see them. Writes dK and dV of its keys and adds to its own partial sum of dQ.
struct KeyTask {
  private let pass: TiledBackward
  private let segment: Int
  private let keyHead: Int
  /// For each block of queries [queries, k] sums of dQ, then [queries] row sums of dS.
  private let partial: UnsafeMutablePointer<Float>
  /// [b,h,s] column sums of dS, for the logit decay.
  private let columnSums: UnsafeMutablePointer<Float>
  private let dk: UnsafeMutablePointer<Float>
  private let dv: UnsafeMutablePointer<Float>
  private let keys: KeyBlock

  init(
    _ pass: TiledBackward, segment: Int, keyHead: Int, partial: UnsafeMutablePointer<Float>,
    columnSums: UnsafeMutablePointer<Float>, dk: UnsafeMutablePointer<Float>,
    dv: UnsafeMutablePointer<Float>
  ) throws {
    self.pass = pass
    self.segment = segment
    self.keyHead = keyHead
    self.partial = partial
    self.columnSums = columnSums
    self.dk = dk
    self.dv = dv
    keys = try KeyBlock(pass)
  }

  private var heads: Range<Int> {
    let count = pass.inputs.headsPerGroup
    return keyHead * count..<(keyHead + 1) * count
  }

  func run(slot: Int) throws {
    let segment = pass.inputs.segments[segment]
    let (tile, d) = (pass.tile, pass.inputs.problem.keyDimension)
    for head in heads {
      for start in stride(from: 0, to: segment.queryCount, by: tile.queries) {
        let block = pass.queries.block(segment: self.segment, head: head, start: start)
        (partial + block.index * tile.queries * (d + 1))
          .update(repeating: 0, count: tile.queries * (d + 1))
      }
    }
    // Blocks are dealt out like cards: under a causal mask the early ones are seen by more queries.
    for start in stride(
      from: slot * tile.keys, to: segment.keyCount, by: tile.keys * tile.slots)
    {
      try run(columns: start..<min(start + tile.keys, segment.keyCount))
    }
  }

  private func run(columns: Range<Int>) throws {
    let (inputs, tile, kernels) = (pass.inputs, pass.tile, pass.kernels)
    let (d, v) = (inputs.problem.keyDimension, inputs.problem.valueDimension)
    let segment = inputs.segments[segment]
    let t = kernels.tile_columns
    let n = columns.count
    keys.read(segment, keyHead, columns)
    for head in heads {
      let sums =
        columnSums + (segment.batch * inputs.problem.heads + head) * inputs.problem.keyLength
        + segment.keyStart + columns.lowerBound
      if inputs.decaySums != nil { sums.update(repeating: 0, count: n) }
      let visible = segment.band.visibleQueries(columns: columns, queries: segment.queryCount)
      for start in stride(
        from: visible.lowerBound / tile.queries * tile.queries, to: visible.upperBound,
        by: tile.queries)
      {
        let block = pass.queries.block(segment: self.segment, head: head, start: start)
        let m = block.rows.count
        let target = partial + block.index * tile.queries * (d + 1)
        pass.weights(
          block, columns: columns, keys: keys.packedKeys, values: keys.packedValues, s: keys.s,
          ds: keys.ds, capped: keys.capped)
        if inputs.decaySums != nil {
          for r in 0..<m {
            target[tile.queries * d + r] += kernels.sum(n, keys.ds + r * tile.keys)
            kernels.axpy(n, 1, keys.ds + r * tile.keys, sums)
          }
        }
        pass.uncap(keys.ds, keys.capped, rows: m, columns: n)
        // dV += Pᵀ dO ,  dK += dSᵀ Q ,  dQ += dS K
        kernels.product(
          n, v, m, keys.s, 1, tile.keys, block.packedGradients, tile.queries * t, keys.dv, v, t, 1)
        kernels.product(
          n, d, m, keys.ds, 1, tile.keys, block.packedQueries, tile.queries * t, keys.dk, d, t, 1)
        kernels.product(
          m, d, n, keys.ds, tile.keys, 1, keys.packedKeyRows, tile.keys * t, target, d, t, 1)
      }
    }
    if let groups = inputs.normalizedGroups {
      kernels.unit_slices_backward(n, d, groups, keys.rows, keys.lengths, keys.dk, keys.dk)
    }
    for c in 0..<n {
      let place =
        (segment.batch * inputs.problem.keyLength + segment.keyStart + columns.lowerBound + c)
        * inputs.problem.keyValueHeads + keyHead
      (dk + place * d).update(from: keys.dk + c * d, count: d)
      (dv + place * v).update(from: keys.dv + c * v, count: v)
    }
  }
}

/// The memory of a task and, in it, one block of keys and values: as rows, and packed as the right
/// operands of Q Kᵀ, dO Vᵀ and dS K.
struct KeyBlock {
  private let pass: TiledBackward
  private let memory: Scratch
  /// [keys, k], normalised where the similarity asks for it, and the reciprocal lengths.
  let rows: UnsafeMutablePointer<Float>
  let lengths: UnsafeMutablePointer<Float>
  let packedKeys: UnsafeMutablePointer<Float>
  let packedValues: UnsafeMutablePointer<Float>
  let packedKeyRows: UnsafeMutablePointer<Float>
  /// Tiles [queries, keys]: scores then weights, their gradient, the capped scores.
  let s: UnsafeMutablePointer<Float>
  let ds: UnsafeMutablePointer<Float>
  let capped: UnsafeMutablePointer<Float>
  /// Sums [keys, k] and [keys, v].
  let dk: UnsafeMutablePointer<Float>
  let dv: UnsafeMutablePointer<Float>

  init(_ pass: TiledBackward) throws {
    let problem = pass.inputs.problem
    let (d, v, n) = (problem.keyDimension, problem.valueDimension, pass.tile.keys)
    let t = pass.kernels.tile_columns
    let scores = pass.tile.queries * n
    let sizes = [
      n * max(d, v), n * d, n * d, n * v, n * ((d + t - 1) / t * t), scores, scores, scores, n * d,
      n * v,
    ]
    memory = try Scratch(floats: sizes.reduce(0, +))
    var next = memory.base
    let parts = sizes.map { size in
      defer { next += size }
      return next
    }
    self.pass = pass
    rows = parts[0]
    lengths = parts[1]
    packedKeys = parts[2]
    packedValues = parts[3]
    packedKeyRows = parts[4]
    s = parts[5]
    ds = parts[6]
    capped = parts[7]
    dk = parts[8]
    dv = parts[9]
  }

  /// Reads and packs the keys and values `columns` of one head, and clears the sums.
  func read(_ segment: ExactInputs.Segment, _ head: Int, _ columns: Range<Int>) {
    let (kernels, n) = (pass.kernels, columns.count)
    let (d, v) = (pass.keyRows.dimension, pass.valueRows.dimension)
    let t = kernels.tile_columns
    let start = segment.keyStart + columns.lowerBound
    pass.valueRows.read(
      batch: segment.batch, head: head, start: start, count: n, into: rows, kernels)
    kernels.pack(v, n, rows, 1, v, packedValues, v * t)
    pass.keyRows.read(
      batch: segment.batch, head: head, start: start, count: n, into: rows, kernels)
    if let groups = pass.inputs.normalizedGroups {
      kernels.unit_slices(n, d, groups, Similarity.shortestSlice, rows, rows, lengths)
    }
    kernels.pack(d, n, rows, 1, d, packedKeys, d * t)
    kernels.pack(n, d, rows, d, 1, packedKeyRows, pass.tile.keys * t)
    dk.update(repeating: 0, count: n * d)
    dv.update(repeating: 0, count: n * v)
  }
}
