import CPUKernels
import Glibc
import Tensors

/// One run of ``DecodeExactKernel``.
struct DecodePass {
  /// Keys of a piece: long enough to hide the merge, short enough to fill the threads. A constant:
  /// results must not depend on the machine.
  static let pieceKeys = 512
  /// Keys of a block, whose rows stay in the nearest cache while all queries use them.
  private static let blockKeys = 64

  private let inputs: ExactInputs
  private let kernels: cpu_kernels
  private let type: cpu_float_type
  private let scores: ScoreTile
  private let queryRows: HeadRows
  private let keyRows: HeadRows
  private let valueRows: HeadRows

  init(_ inputs: ExactInputs) throws {
    self.inputs = inputs
    kernels = InstructionSet.current.kernels
    type = inputs.dtype.floatType ?? CPU_F32
    scores = ScoreTile(inputs: inputs, kernels: kernels)
    queryRows = try HeadRows(inputs.queries, type)
    keyRows = try HeadRows(inputs.keys, type)
    valueRows = try HeadRows(inputs.values, type)
  }

  /// What one piece of the keys gives for the rows of one key/value head.
  private struct Part {
    /// [rows, v], [rows] and [rows]; the maximum is in base 2.
    let output: UnsafeMutablePointer<Float>
    let high: UnsafeMutablePointer<Float>
    let sum: UnsafeMutablePointer<Float>
  }

  private var rowsPerQuery: Int { inputs.headsPerGroup }

  func run() throws -> ExactOutputs {
    let problem = inputs.problem
    let v = problem.valueDimension
    // Rows are counted for the longest sequence; shorter ones use the first.
    let rows = problem.queryLength * rowsPerQuery
    let tasks = inputs.segments.indices.flatMap { segment in
      (0..<problem.keyValueHeads).flatMap { head in
        stride(from: 0, to: max(1, inputs.segments[segment].keyCount), by: Self.pieceKeys)
          .map { (segment: segment, head: head, start: $0) }
      }
    }
    let partSize = rows * (v + 2)
    let parts = try Scratch(floats: tasks.count * partSize)
    func part(_ task: Int) -> Part {
      let base = parts.base + task * partSize
      return Part(output: base, high: base + rows * v, sum: base + rows * (v + 1))
    }
    try Threads.tryForEach(tasks.count) { task in
      let (segment, head, start) = tasks[task]
      try run(segment, head, start, part(task))
    }
    var logSumExp: Tensor?
    let output = try Tensor.filling(
      [problem.batch, problem.queryLength, problem.heads, v], dtype: problem.dtype
    ) { output in
      logSumExp = try Tensor.filling(
        [problem.batch, problem.heads, problem.queryLength], as: Float.self
      ) { sums in
        var first = 0
        while first < tasks.count {
          let (segment, head, _) = tasks[first]
          var end = first + 1
          while end < tasks.count, tasks[end].start > 0 { end += 1 }
          merge(segment, head, (first..<end).map(part), output, sums)
          first = end
        }
      }
    }
    return ExactOutputs(output: output, logSumExp: logSumExp!)
  }

  /// The keys of one piece, for all queries of the key/value head; row i·group + g is query i of the
  /// group's head g.
  private func run(_ index: Int, _ keyHead: Int, _ start: Int, _ part: Part) throws {
    let segment = inputs.segments[index]
    let (d, v, group) = (queryRows.dimension, valueRows.dimension, rowsPerQuery)
    let m = segment.queryCount * group
    let block = Self.blockKeys
    let scratch = try Scratch(floats: m * (d + block) + block * (max(d, v) + d) + m * d)
    let q = scratch.base
    let s = q + m * d
    let rows = s + m * block
    let lengths = rows + block * max(d, v)
    for i in 0..<segment.queryCount {
      for g in 0..<group {
        let row = q + (i * group + g) * d
        let head = keyHead * group + g
        queryRows.read(
          batch: segment.batch, head: head, start: segment.queryStart + i, count: 1, into: row,
          kernels)
        if let groups = inputs.normalizedGroups {
          kernels.unit_slices(1, d, groups, Similarity.shortestSlice, row, row, lengths)
        }
        kernels.scale(d, inputs.scale[head], row)
      }
    }
    part.high.update(repeating: -.infinity, count: m)
    part.sum.update(repeating: 0, count: m)
    part.output.update(repeating: 0, count: m * v)

    let seen = segment.band.visibleKeys(rows: 0..<segment.queryCount, keys: segment.keyCount)
      .clamped(to: start..<min(start + Self.pieceKeys, segment.keyCount))
    for first in stride(from: seen.lowerBound, to: seen.upperBound, by: block) {
      let columns = first..<min(first + block, seen.upperBound)
      let n = columns.count
      keyRows.withRows(
        batch: segment.batch, head: keyHead, start: segment.keyStart + first, count: n,
        scratch: rows, copies: inputs.normalizedGroups != nil, kernels
      ) { keys, stride in
        if let groups = inputs.normalizedGroups {
          kernels.unit_slices(n, d, groups, Similarity.shortestSlice, rows, rows, lengths)
        }
        kernels.dot_rows(m, n, d, q, d, keys, stride, s, block)
      }
      for i in 0..<segment.queryCount {
        for g in 0..<group {
          scores.apply(
            segment, head: keyHead * group + g, rows: i..<i + 1, columns: columns,
            s + (i * group + g) * block, stride: block)
        }
      }
      kernels.softmax_online(
        m, n, s, block, logTwoOfE, part.high, part.sum, part.output, v, v)
      valueRows.withRows(
        batch: segment.batch, head: keyHead, start: segment.keyStart + first, count: n,
        scratch: rows, copies: false, kernels
      ) { values, stride in
        kernels.product_rows(m, v, n, s, block, values, stride, part.output, v)
      }
    }
  }

  /// Adds the pieces of one key/value head in order and writes its rows.
  private func merge(
    _ index: Int, _ keyHead: Int, _ parts: [Part], _ output: UnsafeMutableRawPointer,
    _ sums: UnsafeMutablePointer<Float>
  ) {
    let problem = inputs.problem
    let segment = inputs.segments[index]
    let (v, group) = (problem.valueDimension, rowsPerQuery)
    withUnsafeTemporaryAllocation(of: Float.self, capacity: v) { total in
      for row in 0..<segment.queryCount * group {
        let head = keyHead * group + row % group
        let place = segment.queryStart + row / group
        let sink = inputs.sinks.map { $0[head] * logTwoOfE }
        var high = sink ?? -.infinity
        // The maximum of the pieces, or NaN if one has it.
        for part in parts where !(part.high[row] <= high) { high = part.high[row] }
        var sum: Float = sink.map { exp2($0 - high) } ?? 0
        total.update(repeating: 0)
        for part in parts where part.sum[row] != 0 {
          let share = exp2(part.high[row] - high)
          sum += part.sum[row] * share
          kernels.axpy(v, share, part.output + row * v, total.baseAddress!)
        }
        kernels.scale(v, sum == 0 ? 0 : 1 / sum, total.baseAddress!)
        let target = (segment.batch * problem.queryLength + place) * problem.heads + head
        kernels.narrow(
          type, v, total.baseAddress!, output + target * v * problem.dtype.size)
        sums[(segment.batch * problem.heads + head) * problem.queryLength + place] =
          sum == 0 ? -.infinity : (high + log2(sum)) / logTwoOfE
      }
    }
  }
}
