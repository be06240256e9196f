import AttentionCLibrary
import AttentionCPUKernels
import AttentionTensors

/// One run of ``DecodeExactKernel``.
final class DecodePass: Sendable {
  /// Keys per piece: long enough to hide the merge, short enough to occupy the threads. A constant, because
  /// results must not depend on the machine.
  static let pieceKeys = 512
  /// Keys per block, which share one softmax.
  private static let blockKeys = 128
  /// A multiple of the keys that loops process together.
  private static let keyStep = 16

  private let inputs: ExactArguments
  private let kernels: cpu_kernels
  private let type: cpu_float_type
  private let scores: ScoreTile
  private let queryRows: HeadRows
  private let keyRows: HeadRows
  private let valueRows: HeadRows
  /// The factor by which the softmax converts all products to base-2 logits; nil if they must be scaled
  /// beforehand, because scales differ by head or terms follow.
  private let commonFactor: Float?
  /// The factor that converts scores to base-2 logits.
  private var factor: Float { commonFactor ?? logTwoOfE }
  private let group: Int
  private let keyHeads: Int

  init(_ inputs: ExactArguments) throws {
    self.inputs = inputs
    kernels = InstructionSet.current.kernels
    type = inputs.dtype.floatType ?? CPU_F32
    scores = try ScoreTile(inputs, kernels)
    queryRows = try HeadRows(inputs.queries, type)
    keyRows = try HeadRows(inputs.keys, type)
    valueRows = try HeadRows(inputs.values, type)
    let scale = inputs.scale.first ?? 1
    commonFactor =
      inputs.problem.terms.isEmpty && scale > 0
        && inputs.scale.allSatisfy { $0 == scale }
      ? scale * logTwoOfE : nil
    group = inputs.headsPerGroup
    keyHeads = inputs.problem.keyValueHeads
  }

  /// The results of one piece of the keys for each row: row (head · queries + i) · group + g is query i
  /// of query head g of a key/value head's group.
  private struct Part {
    /// [rows, v], [rows] and [rows]; the maximum is that of scores before ``factor``.
    let output: UnsafeMutablePointer<Float>
    let high: UnsafeMutablePointer<Float>
    let sum: UnsafeMutablePointer<Float>
  }

  func run() throws -> ExactOutputs {
    let problem = inputs.problem
    let v = problem.valueDimension
    // Memory is allocated for the longest sequence; shorter ones use its first rows.
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
      [problem.batch, problem.queryLength, problem.heads, v], dtype: problem.dtype,
      into: inputs.destinations.outputs[.output]
    ) { output in
      logSumExp = try Tensor.filling(
        [problem.batch, problem.heads, problem.queryLength], dtype: .float32,
        into: inputs.destinations.outputs[.logSumExp]
      ) { sums in
        let sums = sums.assumingMemoryBound(to: Float.self)
        var first = 0
        while first < tasks.count {
          var end = first + 1
          while end < tasks.count, tasks[end].start > 0 { end += 1 }
          let segment = inputs.segments[tasks[first].segment]
          if end > first + 1 || inputs.hasSink { merge(segment, (first..<end).map(part)) }
          finish(segment, part(first), output, sums)
          first = end
        }
      }
    }
    return [.output: output, .logSumExp: logSumExp]
  }

  /// Processes one piece of the keys for all queries and heads, block by block, with all heads together, so
  /// that memory is read in order.
  private func run(_ index: Int, _ start: Int, _ part: Part) throws {
    let segment = inputs.segments[index]
    let (d, v) = (queryRows.dimension, valueRows.dimension)
    let rows = keyHeads * segment.queryCount * group
    guard rows > 0 else { return }
    let seen = segment.band.visibleKeys(rows: 0..<segment.queryCount, keys: segment.keyCount)
      .clamped(to: start..<min(start + Self.pieceKeys, segment.keyCount))
    let block = max(Self.keyStep, min(Self.blockKeys, seen.count.rounded(up: Self.keyStep)))
    let inPlace = queriesInPlace(segment)
    let queryFloats = inPlace == nil ? rows * d : 0
    let unitFloats = inputs.normalizedGroups == nil ? 0 : 2 * block * d
    let scratch = try Scratch(floats: queryFloats + rows * block + unitFloats)
    let memory = BlockMemory(
      queries: inPlace ?? read(segment, into: scratch.base),
      scores: scratch.base + queryFloats, block: block,
      unitKeys: scratch.base + queryFloats + rows * block)
    part.high.update(repeating: -.infinity, count: rows)
    part.sum.update(repeating: 0, count: rows)
    part.output.update(repeating: 0, count: rows * v)
    for first in stride(from: seen.lowerBound, to: seen.upperBound, by: block) {
      let columns = first..<min(first + block, seen.upperBound)
      if try inputs.leavesKeys(segment, columns) { try attend(segment, columns, memory, part) }
    }
  }

  /// The queries of a sequence, rows as in ``Part``, with strides between key/value heads and rows.
  private struct QueryRows {
    let base: UnsafePointer<Float>
    let head: Int
    let row: Int
  }

  /// The memory of a task.
  private struct BlockMemory {
    let queries: QueryRows
    /// [rows, block]
    let scores: UnsafeMutablePointer<Float>
    /// The most keys of a block.
    let block: Int
    /// Normalised keys of one head [block, k], and as much for their inverse norms.
    let unitKeys: UnsafeMutablePointer<Float>
  }

  /// The queries where they lie, if their rows are float32 and evenly apart.
  private func queriesInPlace(_ segment: ExactArguments.Segment) -> QueryRows? {
    guard inputs.normalizedGroups == nil, group == 1 || segment.queryCount == 1,
      let base = queryRows.floats(batch: segment.batch, head: 0, start: segment.queryStart)
    else { return nil }
    return QueryRows(
      base: base, head: group * queryRows.headStride,
      row: group == 1 ? queryRows.rowStride : queryRows.headStride)
  }

  /// Writes the queries to `target`, [rows, k].
  private func read(
    _ segment: ExactArguments.Segment, into target: UnsafeMutablePointer<Float>
  ) -> QueryRows {
    let (d, count) = (queryRows.dimension, segment.queryCount)
    let m = count * group
    for head in 0..<inputs.problem.heads {
      let first = target + (head / group * m + head % group) * d
      for i in stride(from: 0, to: count, by: group == 1 ? max(1, count) : 1) {
        queryRows.read(
          batch: segment.batch, head: head, start: segment.queryStart + i,
          count: group == 1 ? count : 1, into: first + i * group * d, kernels)
      }
    }
    if let groups = inputs.normalizedGroups {
      withUnsafeTemporaryAllocation(of: Float.self, capacity: max(1, m * groups)) { lengths in
        for head in 0..<keyHeads {
          let rows = target + head * m * d
          kernels.unit_slices(
            m, d, groups, Similarity.shortestSlice, rows, rows, lengths.baseAddress!)
        }
      }
    }
    return QueryRows(base: target, head: m * d, row: d)
  }

  /// Processes one block of keys for the queries of all heads.
  private func attend(
    _ segment: ExactArguments.Segment, _ columns: Range<Int>, _ memory: BlockMemory, _ part: Part
  ) throws {
    let (v, n, block) = (valueRows.dimension, columns.count, memory.block)
    let m = segment.queryCount * group
    let s = memory.scores
    similarity(segment, columns, memory)
    // The queries are not scaled, so that products of half-precision rows are exact.
    if commonFactor == nil {
      for row in 0..<keyHeads * m {
        kernels.scale(n, inputs.scale[row / m * group + row % group], s + row * block)
      }
    }
    let queries = 0..<segment.queryCount
    if scores.changes(segment, rows: queries, columns: columns) {
      for head in 0..<keyHeads * group {
        scores.apply(
          segment, head: head, rows: queries, columns: columns,
          s + (head / group * m + head % group) * block, stride: group * block)
      }
    }
    let valuesAreFinite = hiddenValuesAreFinite(segment, columns, memory)
    kernels.softmax_online(
      keyHeads * m, n, s, block, factor, part.high, part.sum, part.output, v, v)
    guard valuesAreFinite else {
      for head in 0..<keyHeads {
        try valueRows.withFloats(
          batch: segment.batch, head: head, start: segment.keyStart + columns.lowerBound, count: n,
          normalizedGroups: nil, kernels
        ) { values, stride in
          kernels.add_selected(
            m, v, n, s + head * m * block, block, 1, values, stride, part.output + head * m * v, v)
        }
      }
      return
    }
    let values = valueRows.at(
      batch: segment.batch, head: 0, start: segment.keyStart + columns.lowerBound)
    kernels.product_rows(
      type, keyHeads, m, v, n, s, m * block, block, values, valueRows.headStride,
      valueRows.rowStride, part.output, m * v, v)
  }

  /// Whether the values that are masked for some query of a block are finite; others are not checked.
  private func hiddenValuesAreFinite(
    _ segment: ExactArguments.Segment, _ columns: Range<Int>, _ memory: BlockMemory
  ) -> Bool {
    let queries = 0..<segment.queryCount
    guard scores.hides(segment, rows: queries, columns: columns) else { return true }
    let rows = keyHeads * segment.queryCount * group
    return columns.enumerated().allSatisfy { place, key in
      // A bias and cuts may mask a key for some heads and queries only.
      let isSeen =
        scores.keeps(segment, key) && segment.band.covers(rows: queries, columns: key..<key + 1)
        && (inputs.bias == nil && inputs.decayCuts == nil
          || (0..<rows).allSatisfy { memory.scores[$0 * memory.block + place] != -.infinity })
      return isSeen
        || valueRows.areFinite(
          batch: segment.batch, heads: keyHeads, row: segment.keyStart + key, kernels)
    }
  }

  /// Computes the products of all queries with a block of keys.
  private func similarity(
    _ segment: ExactArguments.Segment, _ columns: Range<Int>, _ memory: BlockMemory
  ) {
    let (d, n, block) = (queryRows.dimension, columns.count, memory.block)
    let (m, queries) = (segment.queryCount * group, memory.queries)
    let place = segment.keyStart + columns.lowerBound
    guard let groups = inputs.normalizedGroups else {
      return kernels.dot_rows(
        type, keyHeads, m, n, d, queries.base, queries.head, queries.row,
        keyRows.at(batch: segment.batch, head: 0, start: place), keyRows.headStride,
        keyRows.rowStride, memory.scores, m * block, block)
    }
    let unit = memory.unitKeys
    for head in 0..<keyHeads {
      keyRows.read(batch: segment.batch, head: head, start: place, count: n, into: unit, kernels)
      kernels.unit_slices(n, d, groups, Similarity.shortestSlice, unit, unit, unit + block * d)
      kernels.dot_rows(
        CPU_F32, 1, m, n, d, queries.base + head * queries.head, 0, queries.row, unit, 0, d,
        memory.scores + head * m * block, 0, block)
    }
  }

  /// Adds the pieces of one sequence and its sink in order, into the first.
  private func merge(_ segment: ExactArguments.Segment, _ parts: [Part]) {
    let (v, first) = (valueRows.dimension, parts[0])
    for row in 0..<segment.queryCount * keyHeads * group {
      let head = row / group / segment.queryCount * group + row % group
      let sink = inputs.sink(head: head)
      var high = sink ?? -.infinity
      // The maximum over the pieces; NaN if one of them is NaN.
      for part in parts where !(part.high[row] <= high) { high = part.high[row] }
      var sum: Float = sink.map { $0 == high ? 1 : exp2(($0 - high) * factor) } ?? 0
      for part in parts where part.sum[row] != 0 {
        let share = part.high[row] == high ? 1 : exp2((part.high[row] - high) * factor)
        sum += part.sum[row] * share
        if part.output == first.output {
          kernels.scale(v, share, part.output + row * v)
        } else {
          kernels.axpy(v, share, part.output + row * v, first.output + row * v)
        }
      }
      (first.high[row], first.sum[row]) = (high, sum)
    }
  }

  /// Divides by the sums, rounds, and writes a sequence's rows.
  private func finish(
    _ segment: ExactArguments.Segment, _ part: Part, _ output: UnsafeMutableRawPointer,
    _ sums: UnsafeMutablePointer<Float>
  ) {
    let problem = inputs.problem
    let (v, heads) = (problem.valueDimension, problem.heads)
    let first = segment.batch * problem.queryLength + segment.queryStart
    for head in 0..<heads {
      let row = head / group * segment.queryCount * group + head % group
      kernels.finish_rows(
        type, segment.queryCount, v, part.output + row * v, group * v, part.high + row, factor,
        part.sum + row, group, output + (first * heads + head) * v * problem.dtype.size, heads * v,
        sums + (segment.batch * heads + head) * problem.queryLength + segment.queryStart)
    }
  }
}
