import AttentionCPUKernels
import AttentionTensors

/// The backward pass of ``TiledExactKernel`` in one arithmetic: five products per tile.
///
///     P = exp(S − lse) ,  dP = dO Vᵀ ,  dS = P ∘ (dP − δ) ,  δ = rowsum(dO ∘ O) − d lse
///     dV = Pᵀ dO ,  dK = dSᵀ Q ,  dQ = dS K
///
/// A task owns blocks of keys, so dK and dV have one writer. dQ is summed in ``TileShape/slots`` partial
/// sums that are added in order, for the same bits with any number of threads.
struct TiledBackward<Operands: BackwardOperands>: Sendable {
  let inputs: ExactArguments
  let tile: TileShape
  let kernels: cpu_kernels
  let scores: ScoreTile
  let operands: Operands
  let sources: BackwardSources
  let keyRows, valueRows: HeadRows
  private let queryRows: HeadRows

  init(
    _ inputs: ExactArguments, _ outputs: ExactOutputs, _ incoming: ExactOutputs
  ) throws {
    let gradient = try (incoming[.output] ?? .zeros(outputs.output.shape)).cast(to: inputs.dtype)
    self.inputs = inputs
    tile = TileShape(inputs.problem)
    kernels = InstructionSet.current.kernels
    scores = try ScoreTile(inputs, kernels)
    operands = try Operands(inputs, outputGradient: gradient, tile: tile, kernels)
    sources = try BackwardSources(inputs, outputs, gradient, incoming[.logSumExp])
    let type = inputs.dtype.floatType ?? CPU_F32
    queryRows = try HeadRows(inputs.queries, type)
    keyRows = try HeadRows(inputs.keys, type)
    valueRows = try HeadRows(inputs.values, type)
  }

  /// Sequences and key/value heads whose queries are prepared together.
  private struct Part {
    let segments: Range<Int>
    let keyHeads: Range<Int>
  }

  /// With one slot, one task computes everything for a key/value head of a sequence, whose operands stay in
  /// its caches. With more slots, or a gradient of the bias, there is one part whose tasks share the threads.
  private var parts: [Part] {
    let (segments, keyHeads) = (inputs.segments.indices, inputs.problem.keyValueHeads)
    guard tile.slots == 1, !inputs.problem.needsBiasGradient else {
      return [Part(segments: segments, keyHeads: 0..<keyHeads)]
    }
    return segments.flatMap { segment in
      (0..<keyHeads).map { Part(segments: segment..<segment + 1, keyHeads: $0..<$0 + 1) }
    }
  }

  func run() throws -> ExactGradients {
    let problem = inputs.problem
    let (b, h, t) = (problem.batch, problem.heads, problem.queryLength)
    let (s, hk) = (problem.keyLength, problem.keyValueHeads)
    let hasDecay = inputs.decaySums != nil
    let rowSums = try Scratch(floats: hasDecay ? b * h * t : 0)
    let columnSums = try Scratch(floats: hasDecay ? b * h * s : 0)
    let headSums = try Scratch(floats: 2 * inputs.segments.count * h)
    let parts = parts
    var bias: Tensor?
    let gradients = try Tensor.filling([
      (shape: [b, t, h, problem.keyDimension], dtype: .float32),
      (shape: [b, s, hk, problem.keyDimension], dtype: .float32),
      (shape: [b, s, hk, problem.valueDimension], dtype: .float32),
    ]) { pointers in
      let targets = BackwardTargets(
        dq: pointers[0].assumingMemoryBound(to: Float.self),
        dk: pointers[1].assumingMemoryBound(to: Float.self),
        dv: pointers[2].assumingMemoryBound(to: Float.self), rowSums: rowSums.base,
        columnSums: columnSums.base, scaleSums: headSums.base,
        sumsOfSink: headSums.base + inputs.segments.count * h)
      if parts.count == 1 {
        bias = try run(parts[0], targets)
      } else {
        try Threads.tryForEach(parts.count) { _ = try run(parts[$0], targets) }
      }
    }
    return [
      .queries: gradients[0], .keys: gradients[1], .values: gradients[2],
      .scale: try sum(headSums.base), .bias: bias,
      .logitDecay: hasDecay
        ? try decayGradient(rowSums: rowSums.base, columnSums: columnSums.base) : nil,
      .sinks: !inputs.hasSink
        ? nil : try sum(headSums.base + inputs.segments.count * h),
    ]
  }

  /// Computes the gradients of one part, and returns that of the bias if it is needed.
  private func run(_ part: Part, _ targets: BackwardTargets) throws -> Tensor? {
    let group = inputs.headsPerGroup
    let queries = try BackwardQueries(
      inputs, tile: tile, segments: part.segments,
      heads: part.keyHeads.lowerBound * group..<part.keyHeads.upperBound * group,
      operandFloats: operands.queryFloats, kernels: kernels)
    try queries.prepare(sources, operands)
    try LargeSums(self).resolve(queries.blocksOfLargeSums)
    let slotFloats = queries.blocks * tile.queries * (inputs.problem.keyDimension + 1)
    let partial = try Scratch(floats: tile.slots * slotFloats)
    let keyHeads = part.keyHeads.count
    try Threads.tryForEach(part.segments.count * keyHeads * tile.slots) { task in
      let slot = task % tile.slots
      try KeyTask(
        self, queries, segment: part.segments.lowerBound + task / tile.slots / keyHeads,
        keyHead: part.keyHeads.lowerBound + task / tile.slots % keyHeads,
        partial: partial.base + slot * slotFloats, targets
      ).run(slot: slot)
    }
    try queries.finish(partial.base, slots: tile.slots, operands, targets)
    return inputs.problem.needsBiasGradient ? try BiasGradient(self, queries).run() : nil
  }

  /// [h]: sums over the sequences of [sequences, h].
  private func sum(_ sums: UnsafePointer<Float>) throws -> Tensor {
    let heads = inputs.problem.heads
    return try Tensor(
      (0..<heads).map { head in
        Float(inputs.segments.indices.reduce(0.0) { $0 + Double(sums[$1 * heads + head]) })
      })
  }

  /// Computes the weights of one tile and dS, the gradient of the capped scores.
  ///
  /// Returns whether the products with them must select, because the tile has elements that are not finite
  /// and masked pairs. Then the weights are float32, and weights and dS of masked pairs are zero.
  func weights(_ block: BackwardBlock, _ keys: BackwardKeys) -> Bool {
    let factor = computeScores(block, keys)
    let segment = inputs.segments[block.segment]
    let selects =
      block.isUnfit
      || keys.isUnfit && scores.hides(segment, rows: block.rows, columns: keys.columns)
    // Before offsets are added: saturating, that makes masked scores of −∞ finite.
    let hidden =
      selects
      ? HiddenPairs(block, keys: keys.columns.count, keys.scores, stride: tile.queries) : nil
    if block.hasOffsets {
      kernels.add_rows(
        keys.columns.count, block.rows.count, keys.scores, tile.queries, block.offset, 0, 1)
    }
    operands.weights(block, keys, factor: factor)
    guard let hidden else { return false }
    operands.widenWeights(block, keys)
    for tile in [keys.scores, keys.gradient, keys.capped] { hidden.clear(tile) }
    return true
  }

  /// Computes the masked scores of a tile. Returns the factor that converts them to base-2 logits.
  func computeScores(_ block: BackwardBlock, _ keys: BackwardKeys) -> Float {
    let factor = operands.similarity(block, keys, isFinal: !scores.addsTerms)
    scores.apply(
      inputs.segments[block.segment], head: block.head, rows: block.rows, columns: keys.columns,
      keys.scores, stride: tile.queries, isTransposed: true,
      capped: keys.capped)
    return factor
  }

  /// ``BackwardOperands/accumulate(_:_:queryGradient:)`` in float32, in which zero weights cancel NaN.
  func accumulateSelected(
    _ block: BackwardBlock, _ keys: BackwardKeys, queryGradient: UnsafeMutablePointer<Float>
  ) throws {
    let segment = inputs.segments[block.segment]
    let (n, m, side) = (keys.columns.count, block.rows.count, tile.queries)
    let (d, v) = (keyRows.dimension, valueRows.dimension)
    let start = segment.queryStart + block.rows.lowerBound
    try sources.gradientRows.withFloats(
      batch: segment.batch, head: block.head, start: start, count: m, normalizedGroups: nil, kernels
    ) { rows, stride in
      kernels.add_selected(n, v, m, keys.scores, side, 1, rows, stride, keys.dv, v)
    }
    let sums = try Scratch(floats: max(n, m) * d)
    try queryRows.withFloats(
      batch: segment.batch, head: block.head, start: start, count: m,
      normalizedGroups: inputs.normalizedGroups, kernels
    ) { rows, stride in
      sums.base.update(repeating: 0, count: n * d)
      kernels.add_selected(n, d, m, keys.gradient, side, 1, rows, stride, sums.base, d)
      kernels.axpy(n * d, inputs.scale[block.head], sums.base, keys.dk)
    }
    try keyRows.withFloats(
      batch: segment.batch, head: keys.head, start: segment.keyStart + keys.columns.lowerBound,
      count: n, normalizedGroups: inputs.normalizedGroups, kernels
    ) { rows, stride in
      sums.base.update(repeating: 0, count: m * d)
      kernels.add_selected(m, d, n, keys.gradient, 1, side, rows, stride, sums.base, d)
      operands.add(sums.base, count: m, to: queryGradient)
    }
  }

  /// Allocates a task's memory for a block of keys.
  func keyMemory() throws -> Scratch {
    let problem = inputs.problem
    return try Scratch(
      floats: operands.keyFloats
        + tile.keys * (3 * tile.queries + problem.keyDimension + problem.valueDimension))
  }

  /// Reads a block of keys into `memory` and clears its sums.
  func keys(_ memory: Scratch, segment: Int, head: Int, columns: Range<Int>) throws -> BackwardKeys
  {
    let problem = inputs.problem
    let scores = memory.base + operands.keyFloats
    let size = tile.keys * tile.queries
    let keys = BackwardKeys(
      segment: segment, head: head, columns: columns, memory: memory.base, scores: scores,
      gradient: scores + size, capped: scores + 2 * size,
      isUnfit: try inputs.hidesPairs && !areFinite(segment, head, columns), dk: scores + 3 * size,
      dv: scores + 3 * size + tile.keys * problem.keyDimension)
    try operands.readKeys(keys)
    keys.dk.update(repeating: 0, count: columns.count * problem.keyDimension)
    keys.dv.update(repeating: 0, count: columns.count * problem.valueDimension)
    return keys
  }

  /// Whether all keys and values of a block that the key mask keeps are finite.
  private func areFinite(_ segment: Int, _ head: Int, _ columns: Range<Int>) throws -> Bool {
    let place = inputs.segments[segment]
    let masked = try inputs.maskedKeys(place, columns)
    return [keyRows, valueRows].allSatisfy {
      $0.areFinite(
        batch: place.batch, head: head, start: place.keyStart + columns.lowerBound,
        count: columns.count, except: masked, kernels)
    }
  }

  /// The logit decay of token t is in the cumulative sums of all later tokens: its gradient is the sum
  /// over them of the row sums of dS, as queries, minus its column sums, as keys.
  private func decayGradient(
    rowSums: UnsafePointer<Float>, columnSums: UnsafePointer<Float>
  ) throws -> Tensor {
    let problem = inputs.problem
    let (t, heads) = (problem.queryLength, problem.heads)
    var gradient = [Float](repeating: 0, count: problem.batch * t * heads)
    for segment in inputs.segments {
      for head in 0..<heads {
        let base = (segment.batch * heads + head) * t
        var total = 0.0
        for i in (segment.queryStart..<segment.queryStart + segment.queryCount).reversed() {
          total += Double(rowSums[base + i]) - Double(columnSums[base + i])
          // Tokens after a cut do not attend to tokens before it.
          if let cuts = inputs.decayCuts,
            cuts[base + i] != (i > segment.queryStart ? cuts[base + i - 1] : 0)
          {
            total = 0
          }
          gradient[(segment.batch * t + i) * heads + head] = Float(total)
        }
      }
    }
    return try Tensor(gradient, [problem.batch, t, heads])
  }
}

/// The memory that receives the gradients of all parts.
struct BackwardTargets: @unchecked Sendable {
  /// [b,t,h,k], [b,s,hₖ,k] and [b,s,hₖ,v]
  let dq, dk, dv: UnsafeMutablePointer<Float>
  /// [b,h,t] row sums and [b,h,s] column sums of dS, for the logit decay.
  let rowSums, columnSums: UnsafeMutablePointer<Float>
  /// [sequences, h]: each sequence's shares of the gradients of scale and sink.
  let scaleSums, sumsOfSink: UnsafeMutablePointer<Float>
}
