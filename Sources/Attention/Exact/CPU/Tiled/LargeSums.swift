import AttentionCPUKernels
import AttentionCLibrary
import AttentionTensors

/// Rows whose log-sum-exp is too large for a backward pass to compute weights from it.
///
/// exp(s − lse) has the relative error of rounding lse, |lse| · 2⁻²⁴. Beside a maximum of −10⁹ the logarithm
/// of the sum is lost, and weights of n equal scores would be 1, not 1/n. So maximum m and sum Σ of such a
/// row are recomputed and stored separately, for weights exp(s − m) / Σ, from the same products as the
/// weights: large scores rounded otherwise would not match their maximum.
struct LargeSums<Operands: BackwardOperands> {
  private let pass: TiledBackward<Operands>

  init(_ pass: TiledBackward<Operands>) { self.pass = pass }

  /// Resolves large rows of blocks: ``BackwardBlock/offset``, ``BackwardBlock/logSumExp`` and
  /// ``BackwardBlock/shareOfSink``.
  func resolve(_ blocks: [BackwardBlock]) throws {
    let tile = pass.tile
    try Threads.tryForEach(blocks.count) { index in
      let block = blocks[index]
      let memory = try pass.keyMemory()
      let scratch = try Scratch(floats: tile.queries * (tile.keys + 2))
      let (s, high) = (scratch.base, scratch.base + tile.queries * tile.keys)
      let sum = high + tile.queries
      high.update(repeating: -.infinity, count: block.rows.count)
      sum.update(repeating: 0, count: block.rows.count)
      let factor = try add(block, memory, rows: s, high, sum)
      for r in 0..<block.rows.count where block.offset[r].isNaN {
        resolve(block, row: r, high: high[r], sum: sum[r], factor: factor)
      }
    }
  }

  /// Computes maxima and sums of a block's rows over all keys. Returns the factor that converts the maxima to
  /// base-2 logits.
  private func add(
    _ block: BackwardBlock, _ memory: Scratch, rows s: UnsafeMutablePointer<Float>,
    _ high: UnsafeMutablePointer<Float>, _ sum: UnsafeMutablePointer<Float>
  ) throws -> Float {
    let (inputs, tile, kernels) = (pass.inputs, pass.tile, pass.kernels)
    let segment = inputs.segments[block.segment]
    let visible = segment.band.visibleKeys(rows: block.rows, keys: segment.keyCount)
    var (factor, none) = (logTwoOfE, Float(0))
    for first in stride(
      from: visible.lowerBound / tile.keys * tile.keys, to: visible.upperBound, by: tile.keys)
    {
      let columns = first..<min(first + tile.keys, segment.keyCount)
      guard try inputs.leavesKeys(segment, columns) else { continue }
      let keys = try pass.keys(
        memory, segment: block.segment, head: block.head / inputs.headsPerGroup, columns: columns)
      factor = pass.computeScores(block, keys)
      kernels.transpose(
        columns.count, block.rows.count, keys.scores, tile.queries, s, tile.keys)
      kernels.softmax_online(
        block.rows.count, columns.count, s, tile.keys, factor, high, sum, &none, 0, 0)
    }
    return factor
  }

  private func resolve(
    _ block: BackwardBlock, row: Int, high: Float, sum: Float, factor: Float
  ) {
    guard high > -.infinity else {
      // The query attends to the sink only: no weights.
      (block.offset[row], block.logSumExp[row]) = (0, .infinity)
      block.shareOfSink[row] = 1
      return
    }
    // log2 of the sum including the sink, in units of exp(maximum).
    var rest = log2(Double(sum))
    if let sink = pass.inputs.sink(head: block.head) {
      let above = Double(sink) * Double(logTwoOfE) - Double(high) * Double(factor)
      rest =
        above > 0 ? above + log2(1 + Double(sum) * exp2(-above)) : log2(Double(sum) + exp2(above))
      block.shareOfSink[row] = Float(exp2(above - rest))
    }
    (block.offset[row], block.logSumExp[row]) = (-high, Float(rest))
  }
}
