import AttentionCPUKernels
import AttentionTensors

/// The gradient of the bias: dS summed over the axes along which the bias broadcasts.
///
/// A separate pass, in which a task owns a piece of the bias and processes all tiles that read it, in order.
/// It recomputes S and dP; nothing of the size of queries × keys is stored except the gradient itself, in the
/// bias's own shape.
struct BiasGradient<Operands: BackwardOperands> {
  private let pass: TiledBackward<Operands>
  private let queries: BackwardQueries
  /// The bias's shape, padded with leading ones; extents are 1 along axes where it broadcasts.
  private let shape: [Int]
  private let own: Shape

  /// - Parameter queries: those of all heads and sequences.
  init(_ pass: TiledBackward<Operands>, _ queries: BackwardQueries) {
    self.pass = pass
    self.queries = queries
    own = pass.inputs.biasShape ?? []
    shape = [Int](repeating: 1, count: 4 - own.rank) + own.dimensions
  }

  func run() throws -> Tensor {
    let problem = pass.inputs.problem
    let (batches, heads) = (shape[0], shape[1])
    // A task owns the rows of a tile at least; a bias that broadcasts over queries has one row for all.
    let perRow = shape[2] > 1
    let blockRows = perRow ? pass.tile.queries : max(1, problem.queryLength)
    let blocks = problem.queryLength.pieces(of: blockRows)
    return try Tensor.filling(own, as: Float.self) { target in
      target.update(repeating: 0, count: own.elementCount)
      try Threads.tryForEach(batches * heads * blocks) { task in
        let (batch, head) = (task / blocks / heads, task / blocks % heads)
        let rows =
          task % blocks
          * blockRows..<min(
            problem.queryLength, (task % blocks + 1) * blockRows)
        let memory = try pass.keyMemory()
        let tile = try Scratch(floats: pass.tile.keys * pass.tile.queries)
        for (index, segment) in pass.inputs.segments.enumerated()
        where batches == 1 || segment.batch == batch {
          for queryHead in heads == 1 ? 0..<problem.heads : head..<head + 1 {
            try add(index, queryHead, rows, memory, tile.base, to: target)
          }
        }
      }
    }
  }

  /// Adds the tiles of one head of one sequence with queries in `rows` of the batch row.
  private func add(
    _ index: Int, _ head: Int, _ rows: Range<Int>, _ memory: Scratch,
    _ ds: UnsafeMutablePointer<Float>, to target: UnsafeMutablePointer<Float>
  ) throws {
    let (tile, inputs) = (pass.tile, pass.inputs)
    let segment = inputs.segments[index]
    for first in stride(from: 0, to: segment.keyCount, by: tile.keys) {
      let columns = first..<min(first + tile.keys, segment.keyCount)
      guard try inputs.leavesKeys(segment, columns) else { continue }
      let visible = segment.band.visibleQueries(columns: columns, queries: segment.queryCount)
      let keys = try pass.keys(
        memory, segment: index, head: head / inputs.headsPerGroup, columns: columns)
      for start in stride(
        from: visible.lowerBound / tile.queries * tile.queries, to: visible.upperBound,
        by: tile.queries)
      {
        let block = queries.block(segment: index, head: head, start: start)
        let taken = block.rows.clamped(
          to: rows.lowerBound - segment.queryStart..<rows.upperBound - segment.queryStart)
        guard !taken.isEmpty else { continue }
        _ = pass.weights(block, keys)
        // Rows of the bias are queries, but rows of the tile are keys.
        pass.kernels.transpose(
          columns.count, block.rows.count, keys.gradient, tile.queries, ds, tile.keys)
        for i in taken {
          let row = ds + (i - block.rows.lowerBound) * tile.keys
          let place =
            (((shape[0] == 1 ? 0 : segment.batch) * shape[1] + (shape[1] == 1 ? 0 : head))
              * shape[2] + (shape[2] == 1 ? 0 : segment.queryStart + i)) * shape[3]
          if shape[3] == 1 {
            target[place] += pass.kernels.sum(columns.count, row)
          } else {
            pass.kernels.axpy(
              columns.count, 1, row, target + place + segment.keyStart + columns.lowerBound)
          }
        }
      }
    }
  }
}
