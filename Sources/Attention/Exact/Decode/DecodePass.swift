import CPUKernels
import Glibc
import Tensors

/// One run of ``DecodeExactKernel``.
struct DecodePass {
  /// Keys of a piece: long enough to hide the merge, short enough to fill the threads. A constant:
  /// results must not depend on the machine.
  static let pieceKeys = 512
  /// Keys of a block: one softmax for all of them.
  private static let blockKeys = 128

  private let inputs: ExactInputs
  private let kernels: cpu_kernels
  private let type: cpu_float_type
  private let scores: ScoreTile
  private let queryRows: HeadRows
  private let keyRows: HeadRows
  private let valueRows: HeadRows
  /// What the softmax may multiply all scores by to make base-2 logits of them; nil where they must
  /// be scaled before, by head or for the terms that follow.
  private let commonFactor: Float?

  init(_ inputs: ExactInputs) throws {
    self.inputs = inputs
    kernels = InstructionSet.current.kernels
    type = inputs.dtype.floatType ?? CPU_F32
    scores = try ScoreTile(inputs, kernels)
    queryRows = try HeadRows(inputs.queries, type)
    keyRows = try HeadRows(inputs.keys, type)
    valueRows = try HeadRows(inputs.values, type)
    let scale = inputs.scale.first ?? 1
    commonFactor =
      !scores.addsTerms && scale > 0 && inputs.scale.allSatisfy { $0 == scale }
      ? scale * logTwoOfE : nil
  }

  /// What one piece of the keys gives for each row: row (head · queries + i) · group + g is query i
  /// of the head g of a key/value head's group.
  private struct Part {
    /// [rows, v], [rows] and [rows]; the maximum is in base 2.
    let output: UnsafeMutablePointer<Float>
    let high: UnsafeMutablePointer<Float>
    let sum: UnsafeMutablePointer<Float>
  }

  private var group: Int { inputs.headsPerGroup }

  func run() throws -> ExactOutputs {
    let problem = inputs.problem
    let v = problem.valueDimension
    // Rows are counted for the longest sequence; shorter ones use the first.
    let rows = problem.queryLength * problem.heads
    let tasks = inputs.segments.indices.flatMap { segment in
      stride(from: 0, to: max(1, inputs.segments[segment].keyCount), by: Self.pieceKeys)
        .map { (segment: segment, start: $0) }
    }
    let partSize = rows * (v + 2)
    let parts = try Scratch(floats: tasks.count * partSize)
    func part(_ task: Int) -> Part {
      let base = parts.base + task * partSize
      return Part(output: base, high: base + rows * v, sum: base + rows * (v + 1))
    }
    try Threads.tryForEach(tasks.count) { task in
      try run(tasks[task].segment, tasks[task].start, part(task))
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
          var end = first + 1
          while end < tasks.count, tasks[end].start > 0 { end += 1 }
          merge(tasks[first].segment, (first..<end).map(part), output, sums)
          first = end
        }
      }
    }
    return ExactOutputs(output: output, logSumExp: logSumExp!)
  }

  /// One piece of the keys for all queries and heads, block by block: all heads together, so that
  /// memory is read from one end to the other.
  private func run(_ index: Int, _ start: Int, _ part: Part) throws {
    let segment = inputs.segments[index]
    let (d, v, keyHeads) = (queryRows.dimension, valueRows.dimension, inputs.problem.keyValueHeads)
    let rows = keyHeads * segment.queryCount * group
    let scratch = try Scratch(floats: rows * (d + Self.blockKeys) + 2 * Self.blockKeys * d)
    let memory = BlockMemory(
      queries: scratch.base, scores: scratch.base + rows * d,
      unitKeys: scratch.base + rows * (d + Self.blockKeys))
    readQueries(segment, into: memory.queries, lengths: memory.unitKeys)
    part.high.update(repeating: -.infinity, count: rows)
    part.sum.update(repeating: 0, count: rows)
    part.output.update(repeating: 0, count: rows * v)
    let seen = segment.band.visibleKeys(rows: 0..<segment.queryCount, keys: segment.keyCount)
      .clamped(to: start..<min(start + Self.pieceKeys, segment.keyCount))
    for first in stride(from: seen.lowerBound, to: seen.upperBound, by: Self.blockKeys) {
      let columns = first..<min(first + Self.blockKeys, seen.upperBound)
      if try inputs.leavesKeys(segment, columns) { attend(segment, columns, memory, part) }
    }
  }

  /// What a task works with.
  private struct BlockMemory {
    /// [rows, k], rows as in ``Part``.
    let queries: UnsafeMutablePointer<Float>
    /// [rows, keys of a block]
    let scores: UnsafeMutablePointer<Float>
    /// Normalised keys of one head [keys of a block, k], and as much for their lengths.
    let unitKeys: UnsafeMutablePointer<Float>
  }

  private func readQueries(
    _ segment: ExactInputs.Segment, into q: UnsafeMutablePointer<Float>,
    lengths: UnsafeMutablePointer<Float>
  ) {
    let d = queryRows.dimension
    for head in 0..<inputs.problem.heads {
      for i in 0..<segment.queryCount {
        let row = q + ((head / group * segment.queryCount + i) * group + head % group) * d
        queryRows.read(
          batch: segment.batch, head: head, start: segment.queryStart + i, count: 1, into: row,
          kernels)
        if let groups = inputs.normalizedGroups {
          kernels.unit_slices(1, d, groups, Similarity.shortestSlice, row, row, lengths)
        }
      }
    }
  }

  /// One block of keys for the queries of all heads.
  private func attend(
    _ segment: ExactInputs.Segment, _ columns: Range<Int>, _ memory: BlockMemory, _ part: Part
  ) {
    let (v, n, block) = (valueRows.dimension, columns.count, Self.blockKeys)
    let keyHeads = inputs.problem.keyValueHeads
    let m = segment.queryCount * group
    let s = memory.scores
    similarity(segment, columns, memory)
    // Queries are as they came, so that a product of half-precision rows is exact.
    if commonFactor == nil {
      for row in 0..<keyHeads * m {
        kernels.scale(n, inputs.scale[row / m * group + row % group], s + row * block)
      }
    }
    if scores.changes(segment, rows: 0..<segment.queryCount, columns: columns) {
      for row in 0..<keyHeads * m {
        let i = row % m / group
        scores.apply(
          segment, head: row / m * group + row % group, rows: i..<i + 1, columns: columns,
          s + row * block, stride: block)
      }
    }
    kernels.softmax_online(
      keyHeads * m, n, s, block, commonFactor ?? logTwoOfE, part.high, part.sum, part.output, v, v)
    valueRows.withRows(
      batch: segment.batch, head: 0, start: segment.keyStart + columns.lowerBound
    ) { values, type, stride in
      kernels.product_rows(
        type, keyHeads, m, v, n, s, m * block, block, values, valueRows.headStride, stride,
        part.output, m * v, v)
    }
  }

  /// The products of all queries with a block of keys.
  private func similarity(
    _ segment: ExactInputs.Segment, _ columns: Range<Int>, _ memory: BlockMemory
  ) {
    let (d, n, block) = (queryRows.dimension, columns.count, Self.blockKeys)
    let keyHeads = inputs.problem.keyValueHeads
    let m = segment.queryCount * group
    let place = segment.keyStart + columns.lowerBound
    guard let groups = inputs.normalizedGroups else {
      return keyRows.withRows(batch: segment.batch, head: 0, start: place) { keys, type, stride in
        kernels.dot_rows(
          type, keyHeads, m, n, d, memory.queries, m * d, d, keys, keyRows.headStride, stride,
          memory.scores, m * block, block)
      }
    }
    let unit = memory.unitKeys
    for head in 0..<keyHeads {
      keyRows.read(batch: segment.batch, head: head, start: place, count: n, into: unit, kernels)
      kernels.unit_slices(n, d, groups, Similarity.shortestSlice, unit, unit, unit + block * d)
      kernels.dot_rows(
        CPU_F32, 1, m, n, d, memory.queries + head * m * d, 0, d, unit, 0, d,
        memory.scores + head * m * block, 0, block)
    }
  }

  /// Adds the pieces of one sequence in order and writes its rows.
  private func merge(
    _ index: Int, _ parts: [Part], _ output: UnsafeMutableRawPointer,
    _ sums: UnsafeMutablePointer<Float>
  ) {
    let problem = inputs.problem
    let segment = inputs.segments[index]
    let v = problem.valueDimension
    withUnsafeTemporaryAllocation(of: Float.self, capacity: v) { total in
      for row in 0..<segment.queryCount * problem.heads {
        let head = row / group / segment.queryCount * group + row % group
        let place = segment.queryStart + row / group % segment.queryCount
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
