import CPUKernels
import Glibc
import Tensors

/// The forward pass of ``TiledExactKernel``.
struct TiledForward {
  private let inputs: ExactInputs
  private let type: cpu_float_type
  private let tile: TileShape
  private let kernels: cpu_kernels
  private let scores: ScoreTile

  init(_ inputs: ExactInputs) {
    self.inputs = inputs
    type = inputs.dtype.floatType ?? CPU_F32
    tile = TileShape(inputs.problem)
    kernels = InstructionSet.current.kernels
    scores = ScoreTile(inputs: inputs, kernels: kernels)
  }

  func run() throws -> ExactOutputs {
    let problem = inputs.problem
    let packed = try PackedKeys(inputs, type, kernels)
    let queries = try HeadRows(inputs.queries, type)
    // The last blocks of a causal sequence see the most keys, so they come first.
    let tasks = inputs.segments.indices.flatMap { segment in
      stride(from: 0, to: inputs.segments[segment].queryCount, by: tile.queries).reversed()
        .flatMap { start in (0..<problem.heads).map { (segment, $0, start) } }
    }
    var logSumExp: Tensor?
    let output = try Tensor.filling(
      [problem.batch, problem.queryLength, problem.heads, problem.valueDimension],
      dtype: problem.dtype
    ) { output in
      logSumExp = try Tensor.filling(
        [problem.batch, problem.heads, problem.queryLength], as: Float.self
      ) { sums in
        try Threads.tryForEach(tasks.count) { task in
          let (segment, head, start) = tasks[task]
          try block(segment, head, start, packed, queries, output, sums)
        }
      }
    }
    return ExactOutputs(output: output, logSumExp: logSumExp!)
  }

  /// The output of one block of queries of one head.
  private func block(
    _ index: Int, _ head: Int, _ start: Int, _ packed: PackedKeys, _ queries: HeadRows,
    _ output: UnsafeMutableRawPointer, _ sums: UnsafeMutablePointer<Float>
  ) throws {
    let problem = inputs.problem
    let segment = inputs.segments[index]
    let rows = start..<min(start + tile.queries, segment.queryCount)
    let (d, v, m) = (problem.keyDimension, problem.valueDimension, rows.count)
    let scratch = try Scratch(floats: tile.queries * (2 * d + tile.keys + v + 2))
    let q = scratch.base  // [queries, d]
    let s = q + tile.queries * d  // [queries, keys]
    let o = s + tile.queries * tile.keys  // [queries, v]
    let high = o + tile.queries * v  // [queries], the running maximum
    let sum = high + tile.queries  // [queries]
    let lengths = sum + tile.queries  // [queries, groups]

    queries.read(
      batch: segment.batch, head: head, start: segment.queryStart + start, count: m, into: q,
      kernels)
    if let groups = inputs.normalizedGroups {
      kernels.unit_slices(m, d, groups, Similarity.shortestSlice, q, q, lengths)
    }
    kernels.scale(m * d, inputs.scale[head], q)
    // A sink is a logit that was seen before the first key.
    let sink = inputs.sinks?[head]
    let shift = inputs.constantShift(head: head)
    high.update(repeating: shift ?? sink ?? -.infinity, count: m)
    sum.update(repeating: sink == nil ? 0 : 1, count: m)
    o.update(repeating: 0, count: m * v)

    let visible = segment.band.visibleKeys(rows: rows, keys: segment.keyCount)
    let keyHead = head / inputs.headsPerGroup
    for first in stride(
      from: visible.lowerBound / tile.keys * tile.keys, to: visible.upperBound, by: tile.keys)
    {
      let columns = first..<min(first + tile.keys, visible.upperBound)
      let n = columns.count
      // S = Q Kᵀ
      kernels.product(
        m, n, d, q, d, 1, packed.keys(index, keyHead, from: first), packed.keyPanelStride, s,
        tile.keys, kernels.tile_columns, 0)
      scores.apply(segment, head: head, rows: rows, columns: columns, s, stride: tile.keys)
      // P = exp(S − m)
      if let shift {
        kernels.softmax_shifted(m, n, s, tile.keys, shift, sum)
      } else {
        kernels.softmax_online(m, n, s, tile.keys, high, sum, o, v, v)
      }
      // O += P V
      kernels.product(
        m, v, n, s, tile.keys, 1, packed.values(index, keyHead, from: first),
        packed.valuePanelStride(index), o, v, kernels.tile_columns, 1)
    }

    let row = segment.queryStart + start
    for r in 0..<m {
      // An empty sum leaves a zero output.
      kernels.scale(v, sum[r] > 0 ? 1 / sum[r] : 0, o + r * v)
      let place = (segment.batch * problem.queryLength + row + r) * problem.heads + head
      kernels.narrow(type, v, o + r * v, output + place * v * problem.dtype.size)
      sums[(segment.batch * problem.heads + head) * problem.queryLength + row + r] =
        sum[r] > 0 ? high[r] + log(sum[r]) : -.infinity
    }
  }
}
